"""Tasks: what can be one, what it is called, with which options, and what an enqueue refuses."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from tests.shop import Shop

from flask_later import Call, JobState, Later, Retry, Task, TaskGroup
from flask_later.errors import (
    ArgumentsError,
    InvalidSettingError,
    InvalidTaskError,
    JobNotFoundError,
    NameTakenError,
    NotInitializedError,
    NotSerializableError,
    NotServingError,
    OutsideAppContextError,
    PayloadTooLargeError,
    QueueFullError,
    UnknownQueueError,
    UnsupportedError,
)
from flask_later.testing import run_all

HERE = __name__


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Nothing runs by itself, so that jobs stay as they were enqueued."""
    with Shop(MANUAL=True) as shop:
        yield shop


@pytest.fixture
def later() -> Later:
    return Later()


def add(a: int, b: int = 1) -> int:
    return a + b


async def add_slowly(a: int, b: int = 1) -> int:
    return a + b


# The decorator


def test_a_task_can_be_called_as_the_function_it_is(later: Later) -> None:
    """Calling runs it here and now, with no app."""
    assert later.task(add)(1, b=2) == 3


def test_an_async_task_gives_its_coroutine(later: Later) -> None:
    """Calling it is calling the function: whoever calls awaits."""
    coroutine = later.task(add_slowly)(1, b=2)
    assert inspect.iscoroutine(coroutine)
    with pytest.raises(StopIteration) as returned:
        coroutine.send(None)
    assert returned.value.value == 3


@pytest.mark.parametrize(
    "decorate", [lambda later: later.task, lambda later: later.task()], ids=["without", "with"]
)
def test_the_decorator_goes_with_and_without_parentheses(
    decorate: Callable[[Later], Any], later: Later
) -> None:
    """Both give a task with the same name."""
    task = decorate(later)(add)
    assert isinstance(task, Task)
    assert task.name == f"{HERE}.add"


def test_a_task_looks_like_its_function(later: Later) -> None:
    """Documentation tools and debuggers see the function's name, text and signature."""

    @later.task
    def documented(a: int) -> int:
        """Say it."""
        return a

    assert (documented.__name__, documented.__doc__) == ("documented", "Say it.")  # type: ignore[attr-defined]
    assert str(inspect.signature(documented)) == "(a: 'int') -> 'int'"
    assert repr(documented).startswith("<Task ")


def test_attributes_of_the_function_do_not_hide_the_tasks_own(later: Later) -> None:
    """Other decorators leave theirs on the function; ``options`` is a likely name."""

    def build(year: int) -> int:
        return year

    build.options = {"verbose": True}  # type: ignore[attr-defined]
    build.definition = "a word"  # type: ignore[attr-defined]
    task = later.task(
        build,
    )
    assert task.options.queue == "default"
    assert task(7) == 7


def test_options_of_a_task_are_those_of_the_decorator(later: Later) -> None:
    """What is left out has its default: one attempt, priority 0, no timeout."""
    retry = Retry(max_attempts=5)
    full = later.task(name="full", queue="mail", priority=5, retry=retry, timeout=2, durable=True)
    options, plain = full(add).options, later.task(add_slowly).options
    assert (options.queue, options.priority, options.retry) == ("mail", 5, retry)
    assert (options.timeout, options.durable) == (2.0, True)
    assert (plain.queue, plain.priority, plain.retry.max_attempts) == ("default", 0, 1)
    assert (plain.timeout, plain.durable) == (None, False)


# What can be a task


def numbers() -> Iterator[int]:
    yield 1


async def numbers_slowly() -> AsyncIterator[int]:
    yield 1


class Callable_:  # noqa: N801
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (5, "An int cannot be a task. Decorate a function."),
        ("mail", "A str cannot be a task. Decorate a function."),
        (Shop, "A type cannot be a task. Decorate a function."),
        (numbers, "The generator 'numbers' cannot be a task, because nobody takes what it yields"),
        (numbers_slowly, "The generator 'numbers_slowly' cannot be a task"),
        (functools.partial(numbers), "The generator"),
        (lambda: None, "Write it with def, or give a name: @later.task(name='...')"),
        (functools.partial(add, 1), "give a name: @later.task(name='...')"),
        (dict.update, "has no signature"),
        (Callable_(), "Write it with def"),
        (Callable_.__call__, "no object to call it on. Write a function that finds the object"),
    ],
    ids=repr,
)
def test_what_cannot_be_a_task_is_refused_with_the_way_out(
    wrong: Any, why: str, later: Later
) -> None:
    """Each refusal says why, and what to write instead."""
    with pytest.raises(InvalidTaskError) as refusal:
        later.task(wrong)
    assert why in str(refusal.value)


def test_a_task_is_not_decorated_twice(later: Later) -> None:
    """The second would enqueue a task that is no function."""
    with pytest.raises(InvalidTaskError, match=r"is a task already.*using"):
        later.task(later.task(add))


@pytest.mark.parametrize("function", [lambda a: a, functools.partial(add, 1)], ids=repr)
def test_what_has_no_name_can_be_given_one(function: Callable[..., Any], shop: Shop) -> None:
    """With ``name=`` a lambda is found again."""
    task = shop.later.task(name="named")(function)
    job = shop.enqueue(task, 2)
    shop.work()
    assert job.refresh().state is JobState.SUCCEEDED


def test_an_object_whose_call_is_async_is_awaited(shop: Shop) -> None:
    """With a name it is a task like any, and its coroutine is run."""

    class Adder:
        async def __call__(self, a: int) -> int:
            return a + 1

    job = shop.enqueue(shop.later.task(name="adder")(Adder()), 2)
    shop.work()
    assert job.refresh().result == 3


# Names


def test_the_name_is_module_and_function(later: Later) -> None:
    """It is what every process that imports the module comes to."""
    assert later.task(add).name == f"{HERE}.add"


def test_a_local_function_is_named_after_the_one_around_it(later: Later) -> None:
    """A factory defines its tasks inside; the name holds no ``<locals>``."""

    @later.task
    def inner() -> None: ...

    around = "test_a_local_function_is_named_after_the_one_around_it"
    assert inner.name == f"{HERE}.{around}.inner"


def test_a_program_has_the_same_task_names_when_it_is_imported(tmp_path: Path) -> None:
    """``python app.py`` and ``flask --app app`` agree on the names in the store."""
    program = tmp_path / "shopping.py"
    program.write_text(
        "from flask_later import Later\n"
        "later = Later()\n"
        "@later.task\n"
        "def build(): ...\n"
        "if __name__ in ('__main__', 'shopping'):\n"
        "    print(build.name)\n"
    )
    for arguments in (["shopping.py"], ["-m", "shopping"], ["-c", "import shopping"]):
        said = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert said.stdout == "shopping.build\n"


def make_other(later: Later, **options: Any) -> Task[..., Any]:
    @later.task(**options)
    def other() -> None: ...

    return other


def test_a_name_that_is_taken_names_both_places(later: Later) -> None:
    """File and line of each, so that both are found."""
    later.task(name="mail")(add)
    with pytest.raises(NameTakenError) as refusal:
        later.task(name="mail")(add_slowly)
    first, second = refusal.value.first, refusal.value.second
    assert first == f"{__file__}:{add.__code__.co_firstlineno}"
    assert second == f"{__file__}:{add_slowly.__code__.co_firstlineno}"
    assert f"'mail' is taken: first at {first}, again at {second}" in str(refusal.value)


@pytest.mark.parametrize("options", [{"name": "old"}, {"name": "x", "aliases": ["old"]}])
def test_an_alias_is_a_name(options: dict[str, Any], later: Later) -> None:
    """Nobody else can have it, as a name or as an alias."""
    later.task(aliases=["old"])(add)
    with pytest.raises(NameTakenError, match="'old' is taken"):
        make_other(later, **options)


def test_a_refused_task_is_not_known(shop: Shop) -> None:
    """The first keeps the name, and none of the second's names is left behind."""
    first = shop.later.task(name="mail")(add)
    with pytest.raises(NameTakenError):
        make_other(shop.later, name="free", aliases=["mail"])
    assert shop.state.registry.names() == ["mail"]
    assert shop.state.registry.get("mail") is first


def test_a_factory_that_runs_twice_defines_its_tasks_again(later: Later) -> None:
    """A task from the same place replaces the one before, as tests with a factory need it."""
    make_other(later)
    newest = make_other(later)
    app = Flask("shop")
    app.config["LATER_STORE"] = "memory://"
    later.init_app(app)
    assert app.extensions["later"].registry.tasks() == [newest]


@pytest.mark.parametrize("aliases", ["old_name", [5], ["a", ""]], ids=repr)
def test_aliases_are_a_list_of_names(aliases: Any, later: Later) -> None:
    """A text would be taken for its letters."""
    with pytest.raises(InvalidSettingError, match=r"aliases is .* expected a list of names"):
        later.task(aliases=aliases)(add)


@pytest.mark.parametrize("name", [5, b"mail", "x" * 256, "a\0b", "a\nb", ""], ids=range(6))
def test_a_name_is_a_text(name: Any, later: Later) -> None:
    """It is stored with each job, and shown in lists."""
    with pytest.raises(InvalidSettingError, match=r"name is .* expected"):
        later.task(name=name)(add)


# Groups


def test_the_tasks_of_a_group_have_its_name(later: Later) -> None:
    """What a library calls its tasks does not depend on where it keeps them."""
    group = TaskGroup("billing")
    assert group.task(add).name == "billing.add"
    assert group.task(name="own")(add_slowly).name == "own"


def test_a_group_has_defaults_that_its_tasks_can_change() -> None:
    """Queue, priority, retry and timeout are said once."""
    retry = Retry(max_attempts=4)
    group = TaskGroup("billing", queue="slow", priority=3, retry=retry, timeout=9)
    plain, changed = (
        group.task(add).options,
        group.task(queue="fast", priority=0)(add_slowly).options,
    )
    assert (plain.queue, plain.priority, plain.retry, plain.timeout) == ("slow", 3, retry, 9.0)
    assert (changed.queue, changed.priority, changed.timeout) == ("fast", 0, 9.0)


def test_a_wrong_default_of_a_group_is_refused() -> None:
    """Where it is written."""
    with pytest.raises(InvalidSettingError, match="priority"):
        TaskGroup("billing", priority=101)


def test_a_group_that_is_not_registered_is_named(shop: Shop) -> None:
    """Its tasks belong to no app; the error says what was forgotten."""
    task = TaskGroup("billing").task(add)
    with pytest.raises(NotInitializedError, match=r"forget later\.register\(group\)"):
        shop.enqueue(task, 1)


def test_a_registered_group_runs(shop: Shop) -> None:
    """``register`` gives the group back, and its tasks are the app's."""
    group = TaskGroup("billing")
    task = group.task(add)
    assert shop.later.register(group) is group
    job = shop.enqueue(task, 1)
    shop.work()
    assert job.refresh().result == 2


def test_a_group_may_be_registered_twice(shop: Shop) -> None:
    """A factory that runs twice does so."""
    group = TaskGroup("billing")
    task = group.task(add)
    shop.later.register(group)
    shop.later.register(group)
    assert shop.state.registry.tasks() == [task]


def test_a_group_may_serve_several_apps(shop: Shop) -> None:
    """A library's tasks run in each app that registers them."""
    group = TaskGroup("billing")
    task = group.task(add)
    with Shop(MANUAL=True) as other:
        for each in (shop, other):
            each.later.register(group)
            job = each.enqueue(task, 1)
            assert each.work() == 1
            assert job.refresh().result == 2


def test_tasks_that_a_group_gets_later_are_known_as_well(shop: Shop) -> None:
    """Whether ``register`` or the module with the tasks comes first makes no difference."""
    group = TaskGroup("billing")
    shop.later.register(group)
    job = shop.enqueue(group.task(add), 1)
    shop.work()
    assert job.refresh().result == 2


def test_two_groups_cannot_bring_the_same_name(later: Later) -> None:
    """The second is refused where it is registered."""
    for function in (add, add_slowly):
        group = TaskGroup("billing")
        group.task(name="billing.add")(function)
        if function is add:
            later.register(group)
    with pytest.raises(NameTakenError, match=r"billing\.add"):
        later.register(group)


# using


def test_using_leaves_the_task_as_it_is(later: Later) -> None:
    """It is a copy with other options, of the same function and name."""
    task = later.task(add)
    other = task.using(queue="mail", priority=5, timeout=3, unique_key="k", delay=60)
    assert (other.name, other(1)) == (task.name, 2)
    assert (other.options.queue, other.options.priority, other.options.timeout) == ("mail", 5, 3.0)
    assert task.options == later.task(add).options


def test_using_is_for_one_thing_after_the_other(later: Later) -> None:
    """What an earlier ``using`` said stays, and None takes a timeout away."""
    task = later.task(timeout=5)(add).using(queue="mail").using(priority=2)
    assert (task.options.queue, task.options.priority, task.options.timeout) == ("mail", 2, 5.0)
    assert task.using(timeout=None).options.timeout is None


WRONG_OPTIONS = [
    {"priority": 101},
    {"priority": -101},
    {"priority": "high"},
    {"priority": 1.5},
    {"priority": True},
    {"queue": "a b"},
    {"queue": ""},
    {"queue": 5},
    {"timeout": 0},
    {"timeout": -1},
    {"timeout": "1h"},
    {"timeout": True},
    {"expires": 0},
    {"expires": -1},
    {"expires": "1h"},
]
WRONG_USE = [
    {"delay": -1},
    {"delay": "1h"},
    {"at": datetime(2026, 1, 1)},  # noqa: DTZ001
    {"at": "tomorrow"},
    {"at": 60},
    {"unique_key": ""},
    {"unique_key": "x" * 256},
    {"unique_key": 5},
    {"unique_key": "a\0b"},
    {"unique_key": "\ud800"},
    {"unique_until": "running"},
    {"unique_until": None},
    {"unique_until": []},
    {"unique_for": 0, "unique_key": "k"},
    {"unique_for": -1, "unique_key": "k"},
    {"unique_for": 60},
    {"unique_for": 60, "unique_key": None},
    {"unique_until": "started"},
    {"unique_until": "finished"},
    {"unique_until": "gone", "unique_key": None},
    {"delay": 1e10},
    {"delay": timedelta(days=200_000)},
    {"retry": Retry()},
]


@pytest.mark.parametrize("wrong", [*WRONG_OPTIONS, *WRONG_USE], ids=str)
def test_using_refuses_a_wrong_option(wrong: dict[str, Any], later: Later) -> None:
    """By the name of the option, and before anything is stored."""
    with pytest.raises(InvalidSettingError, match=f"^{next(iter(wrong))} is "):
        later.task(add).using(**wrong)


@pytest.mark.parametrize(
    "wrong", [*WRONG_OPTIONS, {"retry": 3}, {"retry": Retry}, {"durable": "yes"}], ids=str
)
def test_the_decorator_refuses_a_wrong_option(wrong: dict[str, Any], later: Later) -> None:
    """By the name of the option, when the module is imported."""
    with pytest.raises(InvalidSettingError, match=f"^{next(iter(wrong))} is "):
        later.task(**wrong)(add)


def test_a_number_of_retries_is_answered_with_what_to_type(later: Later) -> None:
    """``retry=3`` is what other libraries take."""
    with pytest.raises(InvalidSettingError, match=r"retry=Retry\(max_attempts=3\)"):
        later.task(retry=3)(add)  # type: ignore[call-overload]


def test_an_unknown_option_is_a_type_error(later: Later) -> None:
    """As with any function; nothing is swallowed."""
    with pytest.raises(TypeError, match="max_retries"):
        later.task(max_retries=3)(add)  # type: ignore[call-overload]


def test_delay_and_at_exclude_each_other(later: Later) -> None:
    """In one call they are refused, one after the other the last one counts."""
    at = datetime.now(UTC)
    with pytest.raises(InvalidSettingError, match=r"at is .* left out when delay is given"):
        later.task(add).using(delay=60, at=at)
    assert later.task(add).using(delay=60).using(at=at).options.delay == 0
    assert later.task(add).using(at=at).using(delay=60).options.at is None


# Words of others


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("delay", "build.enqueue(...) (later: build.using(delay=60).enqueue(...))"),
        ("apply_async", "build.using(...).enqueue(...)"),
        ("send", "build.enqueue(...)"),
        ("defer", "build.enqueue(...)"),
        ("schedule", "build.using(delay=60).enqueue(...)"),
        ("s", "build.call(...)"),
        ("queue", "build.enqueue(...)"),
    ],
)
def test_the_words_of_other_libraries_are_answered_with_ours(
    word: str, ours: str, later: Later
) -> None:
    """Who comes from Celery reads what to type."""

    def build(year: int) -> None: ...

    with pytest.raises(AttributeError) as refusal:
        getattr(later.task(build), word)
    assert str(refusal.value) == (
        f"task 'build' has no {word!r}. Use {ours}. "
        f"Calling build(...) runs it now, in this process."
    )


def test_any_other_attribute_is_missing_as_usual(later: Later) -> None:
    """``hasattr`` and ``getattr`` with a default work."""
    task = later.task(add)
    assert not hasattr(task, "delay")
    with pytest.raises(AttributeError, match="'Task' object has no attribute 'colour'"):
        task.colour  # type: ignore[attr-defined]  # noqa: B018


# Enqueue


def test_an_enqueued_job_is_stored_as_asked(shop: Shop) -> None:
    """The options of the task end up in its job."""
    task = shop.later.task(timeout=4)(add).using(queue="mail", priority=7, unique_key="k")
    job = shop.enqueue(task, 1, b=2)
    assert (job.task, job.queue, job.state) == (f"{HERE}.add", "mail", JobState.QUEUED)
    assert (job.record.priority, job.record.timeout, job.record.unique_key) == (7, 4.0, "k")
    assert (job.attempts, job.is_finished, job.duplicate) == (0, False, False)
    assert job.run_at == shop.state.clock.now()


@pytest.mark.parametrize("delay", [60, 60.0, timedelta(minutes=1)])
def test_a_delayed_job_is_scheduled(delay: Any, shop: Shop) -> None:
    """It may run once the delay is over."""
    job = shop.enqueue(shop.later.task(add).using(delay=delay), 1)
    assert job.state is JobState.SCHEDULED
    assert job.run_at == shop.state.clock.now() + timedelta(minutes=1)


def test_a_job_may_wait_for_an_instant(shop: Shop) -> None:
    """``at`` may be of any zone; it is kept in UTC."""
    at = (shop.state.clock.now() + timedelta(hours=1)).astimezone(timezone(timedelta(hours=5)))
    job = shop.enqueue(shop.later.task(add).using(at=at), 1)
    assert job.state is JobState.SCHEDULED
    assert (job.run_at, job.run_at.tzinfo) == (at, UTC)


def test_an_instant_that_is_past_means_now(shop: Shop) -> None:
    """The job is queued at once."""
    at = shop.state.clock.now() - timedelta(hours=1)
    assert shop.enqueue(shop.later.task(add).using(at=at), 1).state is JobState.QUEUED


def test_a_unique_key_keeps_the_second_job_out(shop: Shop) -> None:
    """The handle is that of the first, and says so; once it is finished, the key is free."""
    task = shop.later.task(add).using(unique_key="k")
    first, second = shop.enqueue(task, 1), shop.enqueue(task, 2)
    assert (second.id, second.duplicate, first.duplicate) == (first.id, True, False)
    assert second.refresh().duplicate
    shop.work()
    assert shop.enqueue(task, 3).id != first.id


def test_many_calls_are_stored_together(shop: Shop) -> None:
    """Each with its own task and options, in their order."""
    task = shop.later.task(add)
    calls = [task.call(1), task.using(queue="mail").call(2, b=3)]
    assert isinstance(calls[0], Call)
    with shop.app.app_context():
        jobs = shop.later.enqueue_many(call for call in calls)
    shop.work()
    assert [(job.queue, job.refresh().result) for job in jobs] == [("default", 2), ("mail", 5)]


def test_no_calls_make_no_jobs(shop: Shop) -> None:
    """An empty list needs not even an app."""
    assert shop.later.enqueue_many([]) == []


def test_many_calls_are_stored_all_or_none(shop: Shop) -> None:
    """One that is refused takes the others with it."""
    task = shop.later.task(add)
    with shop.app.app_context(), pytest.raises(NotSerializableError):
        shop.later.enqueue_many([task.call(1), task.call(object())])  # type: ignore[arg-type]
    assert shop.work() == 0


def test_a_call_is_checked_where_it_is_made(later: Later) -> None:
    """Without any app."""
    with pytest.raises(ArgumentsError) as refusal:
        later.task(add).call()  # type: ignore[call-arg]
    assert f"(enqueued at {__file__}:{refusal.tb.tb_lineno};" in str(refusal.value)


def test_a_task_finds_its_own_jobs_only(shop: Shop) -> None:
    """Another task's job does not exist for it."""
    first, second = shop.later.task(add), shop.later.task(add_slowly)
    job = shop.enqueue(first, 1)
    with shop.app.app_context():
        assert first.job(job.id).id == job.id
        assert first.using(priority=1).job(job.id).id == job.id
        with pytest.raises(JobNotFoundError, match=f"It is a job of '{first.name}'"):
            second.job(job.id)


# What an enqueue refuses


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 2}, "got an unexpected keyword argument 'c'"),
        ((1,), {"a": 2}, "multiple values for argument 'a'"),
        ((), {"b": 2}, "missing a required argument: 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], reason: str, shop: Shop
) -> None:
    """At the enqueue, with the signature, and not at three in the morning."""
    task = shop.later.task(add)
    with shop.app.app_context(), pytest.raises(ArgumentsError) as refusal:
        task.enqueue(*args, **kwargs)
    place = f"{__file__}:{refusal.tb.tb_lineno}"
    begin = f"{HERE}.add: {reason} (enqueued at {place}; signature: add(a: 'int'"
    assert str(refusal.value).startswith(begin)


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (lambda: 0, (), {}),
        (lambda a, /, b, *, c=0: 0, (1, 2), {"c": 3}),
        (lambda a, /, b, *, c=0: 0, (1,), {"b": 2}),
        (lambda *args: 0, (1, 2, 3), {}),
        (lambda **kwargs: 0, (), {"a": 1, "self": 2, "task": 3}),
        (lambda a, *args, b=0, **kwargs: 0, (1, 2), {"c": 3}),
        (lambda self, task, args, kwargs: 0, (1, 2, 3, 4), {}),
    ],
    ids=range(7),
)
def test_arguments_of_every_kind_reach_the_function(
    function: Callable[..., int], args: tuple[Any, ...], kwargs: dict[str, Any], shop: Shop
) -> None:
    """Positional-only, keyword-only, any number of them, and names that we use ourselves."""
    job = shop.enqueue(shop.later.task(name="any")(function), *args, **kwargs)
    shop.work()
    assert job.refresh().state is JobState.SUCCEEDED


def test_an_argument_that_cannot_be_stored_is_named(shop: Shop) -> None:
    """The error names the argument and its type, and shows nothing of its content."""
    with pytest.raises(NotSerializableError) as refusal:
        shop.enqueue(shop.later.task(add), 1, object())
    assert str(refusal.value).startswith("argument 'b' is an object and cannot be stored.")
    assert shop.work() == 0


def test_arguments_that_are_too_large_are_refused() -> None:
    """``LATER_MAX_ARGUMENTS`` bytes, as JSON."""
    with Shop(MANUAL=True, MAX_ARGUMENTS=100) as shop:
        task = shop.later.task(name="add")(add)
        with pytest.raises(
            PayloadTooLargeError, match=r"The call of add .* is 100\. .* LATER_MAX_ARG"
        ):
            shop.enqueue(task, "x" * 100)


def test_a_queue_that_nobody_serves_is_refused() -> None:
    """``LATER_QUEUES`` lists those there are; the error offers the closest."""
    with Shop(MANUAL=True, QUEUES=["mail", "default"]) as shop:
        task = shop.later.task(add)
        with pytest.raises(UnknownQueueError) as refusal:
            shop.enqueue(task.using(queue="mial"), 1)
        assert shop.enqueue(task, 1).queue == "default"
    assert "Closest: 'mail'. Queues: mail, default." in str(refusal.value)


def test_a_full_store_refuses_and_keeps_nothing() -> None:
    """``LATER_MAX_PENDING`` jobs wait; the caller still has the work in hand."""
    with Shop(MANUAL=True, MAX_PENDING=2) as shop:
        task = shop.later.task(add)
        shop.enqueue(task, 1)
        with shop.app.app_context(), pytest.raises(QueueFullError, match="LATER_MAX_PENDING is 2"):
            shop.later.enqueue_many([task.call(2), task.call(3)])
        shop.enqueue(task, 4)
        assert shop.work() == 2


def test_outside_of_an_app_the_error_says_what_to_write(shop: Shop) -> None:
    """The task is named, and the line to type is complete."""
    task = shop.later.task(add)
    with pytest.raises(OutsideAppContextError) as refusal:
        task.enqueue(1)
    text = str(refusal.value)
    assert text.startswith("Working outside of application context: ")
    assert f"Task '{HERE}.add' was enqueued where no Flask app is active" in text
    assert "with app.app_context(): add.enqueue(...)" in text


def test_an_app_without_later_is_named(later: Later) -> None:
    """init_app was forgotten."""
    task = later.task(add)
    with Flask("bare").app_context(), pytest.raises(NotInitializedError) as refusal:
        task.enqueue(1)
    assert "The current Flask app 'bare' is not registered with a 'Later'" in str(refusal.value)


def test_a_task_of_another_later_is_refused(shop: Shop) -> None:
    """The error says where the app's own was made."""
    task = Later().task(add)
    with pytest.raises(NotInitializedError, match=r"created at .*shop\.py:\d+"):
        shop.enqueue(task, 1)


def test_a_script_does_not_lose_jobs_in_its_memory() -> None:
    """Where nothing runs jobs, the memory store would only forget them."""
    with Shop() as shop:
        task, app = shop.later.task(add), shop.make_app("script")
        with app.app_context(), pytest.raises(NotServingError) as refusal:
            task.enqueue(1)
    assert "'script'" in str(refusal.value)
    assert "later.start(app)" in str(refusal.value)
    assert "LATER_STORE = 'sqlite:///later.sqlite3'" in str(refusal.value)


def test_a_task_that_must_not_be_lost_needs_a_durable_store(shop: Shop) -> None:
    """Defined before the first use, it keeps the app from starting."""
    shop.later.task(durable=True, name="mail")(add)
    app = shop.make_app()
    with pytest.raises(UnsupportedError) as refusal:
        shop.later.start(app)
    assert str(refusal.value) == (
        "Task 'mail' is durable=True: the configured store does not survive its process. "
        "Set LATER_STORE = 'sqlite:///later.sqlite3'."
    )


def test_a_durable_task_that_comes_later_is_refused_at_the_enqueue(shop: Shop) -> None:
    """A module that is imported after the start cannot slip through."""
    assert shop.app
    with pytest.raises(UnsupportedError, match="durable=True"):
        shop.enqueue(shop.later.task(durable=True)(add), 1)


def test_a_durable_task_is_content_with_a_file(tmp_path: Path) -> None:
    """The default store survives its process."""
    with Shop(MANUAL=True, STORE=f"sqlite:///{tmp_path}/later.sqlite3") as shop:
        assert shop.enqueue(shop.later.task(durable=True)(add), 1).state is JobState.QUEUED


def test_a_factory_that_runs_twice_keeps_both_apps_alive() -> None:
    """A task defined inside of it can be enqueued in either, and the later function runs."""
    later = Later()

    def create_app(name: str) -> tuple[Flask, Task[[], str]]:
        app = Flask(name)
        app.testing = True
        later.init_app(app)

        @later.task
        def who() -> str:
            return name

        return app, who

    made = [create_app("first"), create_app("second")]
    for app, who in made:
        with app.app_context():
            job = who.enqueue()
            run_all(app)
            assert job.refresh().result == "second"
