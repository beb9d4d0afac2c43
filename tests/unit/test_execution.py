"""What becomes of a job when its function returns, raises, or cannot be called."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest
from flask import current_app, g, has_request_context, request, session, url_for
from tests.shop import PATIENCE, Shop, until

from flask_later import (
    Failure,
    Job,
    JobState,
    JobStopped,
    Retry,
    StopReason,
    TryAgain,
    current_job,
    signals,
)
from flask_later.core.job import JobRecord
from flask_later.testing.records import make_record

AT_ONCE = Retry(max_attempts=3, backoff=0)


def add(a: int, b: int = 1) -> int:
    return a + b


async def add_slowly(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


def define(shop: Shop, function: Callable[..., Any], *, is_async: bool, **options: Any) -> Any:
    """Make *function* a task, as it is or as the body of an async one."""

    async def awaiting(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return shop.later.task(name="task", **options)(awaiting if is_async else function)


both_kinds = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


# It returns


@pytest.mark.parametrize("function", [add, add_slowly])
def test_a_job_has_the_result_of_its_function(function: Callable[..., Any], shop: Shop) -> None:
    """The handle that waited has it."""
    job = shop.run(shop.later.task(function), 2, b=3)
    assert (job.state, job.result, job.error, job.attempts) == (JobState.SUCCEEDED, 5, None, 1)


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": (1, 2)}, timedelta(days=1), b"\0"])
def test_a_result_comes_back_as_it_is(value: object, shop: Shop) -> None:
    """Also what is false, and what JSON does not know."""
    result = shop.run(shop.later.task(name="give")(lambda: value)).result
    assert (result, type(result)) == (value, type(value))


def test_a_result_can_be_read_again(shop: Shop) -> None:
    """Reading does not use it up, here or through another handle."""
    job = shop.run(shop.later.task(add), 1)
    with shop.app.app_context():
        assert job.result == job.result == shop.later.job(job.id).result == 2


@pytest.mark.parametrize("value", [object(), {1: object()}, lambda: 0], ids=["object", "deep", "f"])
def test_a_result_that_cannot_be_stored_fails_without_another_try(
    value: object, shop: Shop
) -> None:
    """The function has done its work, and would do it twice."""
    calls: list[int] = []

    @shop.later.task(retry=AT_ONCE)
    def give() -> object:
        calls.append(1)
        return value

    job = shop.run(give)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.type == "NotSerializableError"
    assert job.error.message.startswith("the result")
    assert len(calls) == 1


def test_a_result_that_is_too_large_fails_without_another_try() -> None:
    """``LATER_MAX_RESULT`` bytes, as JSON."""
    with Shop(MAX_RESULT=100) as shop:
        job = shop.run(shop.later.task(name="give", retry=AT_ONCE)(lambda: "x" * 100))
    assert job.error is not None
    assert (job.error.type, job.attempts) == ("PayloadTooLargeError", 1)
    assert "102 bytes, the limit is 100" in job.error.message
    assert "or raise LATER_MAX_RESULT" in job.error.message


def test_a_coroutine_that_a_decorator_passes_on_is_awaited(shop: Shop) -> None:
    """Most decorators know nothing of async functions."""

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any) -> Any:
            return function(*args)

        return inner

    assert shop.run(shop.later.task(decorated(add_slowly)), 2).result == 3


# It raises


@both_kinds
def test_an_exception_fails_the_job(shop: Shop, is_async: bool) -> None:
    """Its type, its text and its traceback are kept, as text."""

    def fail(year: int) -> None:
        secret = "do not show"  # noqa: F841
        raise LookupError(f"no data for {year}")

    job = shop.run(define(shop, fail, is_async=is_async), 2026)
    error = job.error
    assert error is not None
    assert (job.state, error.type, error.message) == (
        JobState.FAILED,
        "LookupError",
        "no data for 2026",
    )
    assert 'raise LookupError(f"no data for {year}")' in error.traceback
    assert "do not show" not in error.traceback.replace('"do not show"  # noqa', "")
    assert not error.public


@both_kinds
def test_the_traceback_begins_with_the_task(shop: Shop, is_async: bool) -> None:
    """Our own frames, and those of asyncio, say nothing about it."""

    def fail() -> None:
        raise LookupError

    error = shop.run(define(shop, fail, is_async=is_async)).error
    assert error is not None
    assert "flask_later" not in error.traceback
    assert "asyncio" not in error.traceback
    assert __file__ in error.traceback


def test_what_led_to_an_exception_is_kept(shop: Shop) -> None:
    """The traceback shows its cause, and its notes."""

    @shop.later.task
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            error.add_note("a note")
            raise LookupError("second") from error

    error = shop.run(fail).error
    assert error is not None
    assert "KeyError: 'first'\na note\n" in error.traceback
    assert "direct cause" in error.traceback


@both_kinds
@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException()]
)
def test_what_is_no_exception_fails_the_job_as_well(
    shop: Shop, is_async: bool, error: BaseException
) -> None:
    """And its thread lives: the only one runs the next job, of either kind."""

    def fail() -> None:
        raise error

    job = shop.run(define(shop, fail, is_async=is_async, retry=AT_ONCE))
    assert job.error is not None
    assert (job.state, job.error.type) == (JobState.FAILED, type(error).__name__)
    assert job.attempts == 1
    for function in (add, add_slowly, add_slowly):
        assert shop.run(shop.later.task(function), 1).result == 2


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class UnprintableRuntimeError(RuntimeError):
    def __str__(self) -> str:
        raise ValueError("no text")


class LeavingError(Exception):
    def __str__(self) -> str:
        raise SystemExit


class NoTextError(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


class EndlessError(Exception):
    def __str__(self) -> str:
        return str(self)


@pytest.mark.parametrize(
    "error", [UnprintableError, UnprintableRuntimeError, LeavingError, NoTextError, EndlessError]
)
def test_an_exception_without_a_text_still_fails_the_job(
    shop: Shop, error: type[Exception]
) -> None:
    """Its type stands for it, and the thread lives."""

    @shop.later.task
    def fail() -> None:
        raise error

    record = shop.run(fail).error
    assert record is not None
    assert (record.type, record.message) == (error.__name__, f"<unprintable {error.__name__}>")
    assert shop.run(shop.later.task(add), 1).result == 2


def test_a_recursion_without_end_fails_the_job(shop: Shop) -> None:
    """What it leaves of the stack is enough to say so."""

    @shop.later.task
    def fail() -> int:
        return 1 + fail()

    record = shop.run(fail).error
    assert record is not None
    assert record.type == "RecursionError"
    assert len(record.traceback) <= 16_000


def test_a_cause_that_leads_back_to_itself_ends(shop: Shop) -> None:
    """The traceback shows each once."""

    @shop.later.task
    def fail() -> None:
        first, second = KeyError("first"), LookupError("second")
        first.__cause__, second.__cause__ = second, first
        raise first

    record = shop.run(fail).error
    assert record is not None
    assert "second" in record.traceback


@pytest.mark.parametrize("raised", [ValueError, Failure])
def test_no_text_is_too_long_or_too_odd_to_be_kept(
    shop: Shop, raised: Callable[[str], Exception]
) -> None:
    """It is cut, and what no database takes is written out."""

    @shop.later.task
    def fail(text: str) -> None:
        raise raised(text)

    odd = shop.run(fail, "a\0b\ud800c").error
    long = shop.run(fail, "x" * 100_000).error
    assert odd is not None
    assert long is not None
    assert odd.message == "a\\x00b\\ud800c"
    assert len(long.message) == 2_000
    assert len(long.traceback) <= 16_000


def test_an_exception_group_shows_its_members(shop: Shop) -> None:
    """Their tracebacks are part of its own."""

    @shop.later.task
    def fail() -> None:
        raise ExceptionGroup("two", [KeyError("one"), ValueError("other")])

    record = shop.run(fail).error
    assert record is not None
    assert record.type == "ExceptionGroup"
    assert "KeyError: 'one'" in record.traceback
    assert "ValueError: other" in record.traceback


# It is tried again


@both_kinds
def test_a_failure_is_tried_again_as_often_as_the_task_says(shop: Shop, is_async: bool) -> None:
    """Three attempts in all, then the job has failed with the last error."""
    seen: list[int] = []

    def fail() -> None:
        seen.append(current_job.attempt)
        raise LookupError(f"try {len(seen)}")

    job = shop.run(define(shop, fail, is_async=is_async, retry=AT_ONCE))
    assert job.error is not None
    assert (job.state, job.error.message) == (JobState.FAILED, "try 3")
    assert (seen, job.attempts, job.record.failures) == ([1, 2, 3], 3, 3)


def test_a_job_that_will_be_tried_again_waits_with_its_error(manual: Shop) -> None:
    """It is scheduled for the end of the backoff, and says why."""
    task = manual.later.task(retry=Retry(backoff=60, jitter=False))(add)
    job = manual.enqueue(task, 1, "a text")
    assert manual.work() == 1
    job = job.refresh()
    assert job.error is not None
    assert (job.state, job.error.type, job.attempts) == (JobState.SCHEDULED, "TypeError", 1)
    assert job.run_at == manual.state.clock.now() + timedelta(seconds=60)


def test_a_job_that_succeeds_in_the_end_has_no_error(shop: Shop) -> None:
    """What went wrong before is over."""

    @shop.later.task(retry=AT_ONCE)
    def flaky() -> int:
        if current_job.attempt < 3:
            raise LookupError
        return current_job.attempt

    job = shop.run(flaky)
    assert (job.result, job.error, job.record.failures) == (3, None, 2)


def test_what_a_task_gives_up_on_is_not_tried_again(shop: Shop) -> None:
    """``give_up_on`` beats ``on``."""
    retry = Retry(backoff=0, on=LookupError, give_up_on=KeyError)

    @shop.later.task(retry=retry)
    def fail(key: bool) -> None:
        raise KeyError if key else IndexError

    assert shop.run(fail, True).attempts == 1
    assert shop.run(fail, False).attempts == 3


def test_try_again_is_no_failure(shop: Shop) -> None:
    """A task with one attempt may say so as often as it likes."""

    @shop.later.task
    def busy() -> int:
        if current_job.attempt < 6:
            raise TryAgain
        return current_job.attempt

    job = shop.run(busy)
    assert (job.result, job.attempts, job.record.failures) == (6, 6, 0)


def test_try_again_waits_for_its_delay(manual: Shop) -> None:
    """The job is scheduled, without an error."""

    @manual.later.task
    def busy() -> None:
        raise TryAgain(delay=30)

    job = manual.enqueue(busy)
    manual.work()
    job = job.refresh()
    assert (job.state, job.error) == (JobState.SCHEDULED, None)
    assert job.run_at == manual.state.clock.now() + timedelta(seconds=30)


@both_kinds
def test_a_stop_that_nobody_asked_for_fails_the_job(shop: Shop, is_async: bool) -> None:
    """Given back, it would run again at once, and so for ever."""

    def stop() -> None:
        raise JobStopped(StopReason.SHUTDOWN)

    job = shop.run(define(shop, stop, is_async=is_async, retry=AT_ONCE))
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.type == "JobStopped"


def test_a_task_cannot_choose_why_it_was_stopped(shop: Shop) -> None:
    """It was cancelled, whatever it says."""
    begun = threading.Event()

    @shop.later.task
    def stop() -> None:
        begun.set()
        until(lambda: current_job.cancelled)
        raise JobStopped(StopReason.SHUTDOWN)

    job = shop.enqueue(stop)
    assert begun.wait(PATIENCE)
    with shop.app.app_context():
        assert job.cancel().wait(PATIENCE).state is JobState.CANCELLED


def test_a_failure_is_final_and_may_be_shown(shop: Shop) -> None:
    """Whatever the task's retry says; its text is for clients."""

    @shop.later.task(retry=AT_ONCE)
    def build() -> None:
        raise Failure("No data for that year.")

    job = shop.run(build)
    assert job.error is not None
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert (job.error.message, job.error.public) == ("No data for that year.", True)


def test_a_failure_may_be_made_from_anything(shop: Shop) -> None:
    """``Failure(error)`` shows the error's text."""

    @shop.later.task
    def build() -> None:
        raise Failure(LookupError("no data"))  # type: ignore[arg-type]

    error = shop.run(build).error
    assert error is not None
    assert error.message == "no data"


# Its context


@both_kinds
def test_a_job_has_an_app_context_of_its_own(shop: Shop, is_async: bool) -> None:
    """``current_app`` is the app, ``g`` is empty, and there is no request."""

    def look() -> list[object]:
        before = g.get("seen")
        g.seen = True
        return [current_app.name, before, has_request_context()]

    task = define(shop, look, is_async=is_async)
    assert [shop.run(task).result for _ in range(2)] == [["shop", None, False]] * 2


def test_the_context_is_torn_down_with_the_exception(shop: Shop) -> None:
    """As after a request: None, or what was raised."""
    seen: list[BaseException | None] = []
    assert shop.app.teardown_appcontext(seen.append)

    @shop.later.task
    def fail(really: bool) -> None:
        if really:
            raise LookupError

    shop.run(fail, False)
    shop.run(fail, True)
    assert [type(error) for error in seen if error is not None] == [LookupError]
    assert None in seen


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt])
def test_a_teardown_that_raises_does_not_take_the_result(
    shop: Shop, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """What the job did stands, and the log has the rest."""

    def fail(_: object) -> None:
        if current_job.id:
            raise error("no teardown")

    shop.app.teardown_appcontext(fail)
    assert shop.run(shop.later.task(add), 1).result == 2
    assert shop.run(shop.later.task(add_slowly), 1).result == 2
    assert "teardown_appcontext" in caplog.text
    assert "no teardown" in caplog.text


def test_context_variables_of_a_job_end_with_it(shop: Shop) -> None:
    """The next job on the same thread does not see what the one before has set."""
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    @shop.later.task
    def become(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        return before

    assert [shop.run(become, name).result for name in "ab"] == ["nobody", "nobody"]


def test_a_job_does_not_see_the_request_it_is_run_in(manual: Shop) -> None:
    """Where a test runs jobs inside of a request, they still have none, as anywhere."""

    @manual.later.task
    def look() -> bool:
        return has_request_context()

    job = manual.enqueue(look)
    with manual.app.test_request_context():
        manual.work()
        assert has_request_context()
    assert job.refresh().result is False


@pytest.mark.parametrize("name", ["request", "session", "url_for"])
def test_using_the_request_in_a_task_is_explained(shop: Shop, name: str) -> None:
    """Flask's error gets a note that says what to pass."""

    @shop.later.task(name="shop.mail.send")
    def send() -> object:
        return {
            "request": lambda: request.remote_addr,
            "session": lambda: session["user"],
            "url_for": lambda: url_for(".sibling"),
        }[name]()

    error = shop.run(send).error
    assert error is not None
    assert error.type == "RuntimeError"
    if name != "url_for":
        assert "Task 'shop.mail.send' used 'request', 'session'" in error.traceback
        assert "send.enqueue(ip=request.remote_addr)" in error.traceback


def test_a_url_without_a_host_is_explained(shop: Shop) -> None:
    """Flask names its own settings, none of which is for jobs alone."""

    @shop.later.task
    def link() -> str:
        return url_for("static", filename="logo.png", _external=True)

    error = shop.run(link).error
    assert error is not None
    assert "LATER_BASE_URL = 'https://" in error.traceback


def test_other_errors_get_no_note(shop: Shop) -> None:
    """A RuntimeError of the task's own is left alone."""

    @shop.later.task
    def fail() -> None:
        raise RuntimeError("no request here")

    error = shop.run(fail).error
    assert error is not None
    assert "enqueue(ip=" not in error.traceback


# Async


def test_async_jobs_run_on_as_many_threads_as_there_are() -> None:
    """Two that wait for each other meet, each on an event loop of its own."""
    meeting = threading.Barrier(2)
    with Shop(THREADS=2) as shop:

        @shop.later.task
        async def meet() -> int:
            await asyncio.to_thread(meeting.wait, PATIENCE)
            return id(asyncio.get_running_loop())

        jobs = [shop.enqueue(meet) for _ in range(2)]
        assert len({job.wait(timeout=PATIENCE).result for job in jobs}) == 2


def test_a_thread_keeps_its_event_loop(shop: Shop) -> None:
    """So that clients which are bound to a loop can be kept."""
    loops: list[object] = []

    @shop.later.task
    async def look() -> None:
        loops.append(asyncio.get_running_loop())

    shop.run(look)
    shop.run(look)
    assert loops[0] is loops[1]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_an_async_job_left_behind_does_not_disturb_the_next(
    shop: Shop, error: type[BaseException]
) -> None:
    """Python breaks out of a loop whose task raises these; the next job gets another loop."""

    async def leave() -> None:
        raise error("left behind")

    @shop.later.task
    async def leave_behind() -> None:
        await asyncio.gather(asyncio.sleep(3600), leave())

    job = shop.run(leave_behind)
    assert job.error is not None
    assert (job.state, job.error.type) == (JobState.FAILED, error.__name__)
    for _ in range(2):
        assert shop.run(shop.later.task(add_slowly), 1).result == 2


def test_an_async_job_that_is_cancelled_from_inside_fails(shop: Shop) -> None:
    """Nobody asked for it, so it is an error like any other."""

    @shop.later.task
    async def fail() -> None:
        raise asyncio.CancelledError

    job = shop.run(fail)
    assert job.error is not None
    assert (job.state, job.error.type) == (JobState.FAILED, "CancelledError")


# It cannot be called


def store(shop: Shop, **changes: Any) -> Job[Any]:
    """Put a record into the store as another version of the code would have done."""
    record: JobRecord = make_record(at=shop.state.clock.now(), **changes)
    shop.store.add([record])
    shop.store.wake([record.queue])
    return Job(record, shop.state)


def refreshed(job: Job[Any], state: JobState) -> Job[Any]:
    until(lambda: job.refresh().state is state)
    return job.refresh()


def test_a_job_of_an_unknown_task_is_parked(shop: Shop) -> None:
    """It is kept, and says what may be meant and what to do."""
    shop.later.task(name="shop.task.build_report")(add)
    job = refreshed(store(shop, task="shop.tasks.build_report"), JobState.PARKED)
    assert job.error is not None
    assert job.attempts == 0
    assert job.error.type == "UnknownTask"
    assert job.error.message == (
        "No task 'shop.tasks.build_report' is known here. Closest: 'shop.task.build_report'. "
        "Known tasks: 1 (flask later tasks). Is its module imported by create_app()? Was it "
        "renamed? Then add @later.task(aliases=['shop.tasks.build_report']). The job is parked, "
        "and runs when a worker knows its task."
    )


def test_a_parked_job_runs_once_a_worker_knows_its_task(shop: Shop) -> None:
    """Nobody has to resume it."""
    job = refreshed(store(shop, task="shop.build", payload="[[4],{}]"), JobState.PARKED)
    shop.later.task(name="shop.build")(add)
    assert job.wait(timeout=PATIENCE).result == 5


def test_a_job_under_an_old_name_runs_by_its_alias(shop: Shop) -> None:
    """And its handle is found through the task."""
    task = shop.later.task(name="shop.new", aliases=["shop.old"])(add)
    job = store(shop, task="shop.old", payload="[[4],{}]").wait(timeout=PATIENCE)
    assert job.result == 5
    with shop.app.app_context():
        assert task.job(job.id).task == "shop.old"


def test_arguments_that_no_longer_fit_park_the_job(shop: Shop) -> None:
    """The message says what does not fit which signature."""
    shop.later.task(name="shop.build")(lambda year: 0)
    job = refreshed(store(shop, task="shop.build", payload='[[],{"month":1}]'), JobState.PARKED)
    assert job.error is not None
    assert job.error.type == "ArgumentsError"
    assert job.error.message == "shop.build(year): missing a required argument: 'year'"


def test_a_parked_job_runs_once_its_task_takes_the_arguments(shop: Shop) -> None:
    """The same code does not unpark it, other code does."""
    shop.later.task(name="shop.build")(lambda year: 0)
    record = store(shop, task="shop.build", payload='[[],{"month":1}]')
    refreshed(record, JobState.PARKED)
    digests = shop.state.registry.digests()
    assert not shop.store.sweep(100, digests).hints
    assert shop.store.sweep(100, {**digests, "shop.build": "another"}).hints


def test_arguments_that_cannot_be_read_fail_the_job(shop: Shop) -> None:
    """No other code could read them either."""
    shop.later.task(name="shop.build")(add)
    job = store(shop, task="shop.build", payload="[[").wait(timeout=PATIENCE)
    assert job.error is not None
    assert (job.state, job.error.type) == (JobState.FAILED, "MalformedPayloadError")


@pytest.mark.parametrize("context", ["{", "5", '{"carried":5}'])
def test_a_snapshot_that_cannot_be_read_costs_its_job_only(shop: Shop, context: str) -> None:
    """The job ends, one way or the other, and the thread lives."""
    shop.later.carry("tenant", capture=lambda: None, restore=lambda _: None)
    shop.later.task(name="shop.build")(add)
    job = store(shop, task="shop.build", payload="[[4],{}]", context=context)
    assert job.wait(timeout=PATIENCE).is_finished
    assert shop.run(shop.later.task(add_slowly), 1).result == 2


class Color(Enum):
    RED = 1


def paint(color: Color) -> str:
    return color.name


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ('{"$enum":["tests.unit.test_execution:Color","BLUE"]}', "no member 'BLUE'"),
        ('{"$enum":["shop.colors:Color","RED"]}', "no class 'shop.colors:Color'"),
    ],
)
def test_a_value_of_other_code_parks_the_job(shop: Shop, argument: str, reason: str) -> None:
    """The code that stored it has it, and code to come may have it again."""
    shop.later.task(name="shop.paint")(paint)
    job = store(shop, task="shop.paint", payload=f"[[{argument}],{{}}]")
    until(lambda: job.refresh().state is JobState.PARKED)
    error = job.refresh().error
    assert error is not None
    assert reason in error.message


# What is told


def test_signals_tell_what_happens_to_a_job(shop: Shop) -> None:
    """In order, with the app as their sender and the job in its state of then."""
    told: list[tuple[str, JobState, Any]] = []

    def tell(name: str) -> Callable[..., None]:
        def receive(sender: object, job: JobRecord, exception: Any = None, **_: object) -> None:
            assert sender is shop.app
            told.append((name, job.state, type(exception)))

        return receive

    names = [name for name in vars(signals) if name.startswith("job_")]
    receivers = {name: tell(name) for name in names}

    @shop.later.task(retry=Retry(max_attempts=2, backoff=0))
    def flaky() -> None:
        raise LookupError

    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, shop.app)
    shop.run(flaky)
    shop.run(shop.later.task(add), 1)
    none = type(None)
    until(lambda: len(told) == 8)
    # Another thread tells of the enqueue, and may do so when the job has long begun.
    enqueued = ("job_enqueued", JobState.QUEUED, none)
    assert told.count(enqueued) == 2
    assert [each for each in told if each != enqueued] == [
        ("job_started", JobState.RUNNING, none),
        ("job_retried", JobState.QUEUED, LookupError),
        ("job_started", JobState.RUNNING, none),
        ("job_failed", JobState.FAILED, LookupError),
        ("job_started", JobState.RUNNING, none),
        ("job_succeeded", JobState.SUCCEEDED, none),
    ]


def test_the_job_of_a_signal_is_the_stored_one(shop: Shop) -> None:
    """With everything that is known of it: its result, its times and its progress."""
    told: list[JobRecord] = []

    def receive(sender: object, job: JobRecord, **_: object) -> None:
        told.append(job)

    signals.job_succeeded.connect(receive, shop.app)

    @shop.later.task
    def build() -> int:
        current_job.progress(1, 2, "half")
        return 3

    job = shop.run(build)
    until(lambda: told)
    record = job.refresh().record
    by_the_store = {"finished_at": record.finished_at, "progress_at": record.progress_at}
    assert told[0]._replace(**by_the_store) == record
    assert None not in (told[0].finished_at, told[0].progress_at)


def test_a_parked_job_is_told_with_its_reason(shop: Shop) -> None:
    """``reason`` says what is unknown, or does not fit."""
    told: list[str] = []

    def receive(sender: object, reason: str, **_: object) -> None:
        told.append(reason)

    signals.job_parked.connect(receive, shop.app)
    store(shop, task="nobody.knows")
    until(lambda: told)
    assert told[0].startswith("No task 'nobody.knows'")


def test_an_attempt_is_told_inside_its_context(shop: Shop) -> None:
    """Receivers of ``job_started`` see the app and the job, as the task will."""
    told: list[tuple[str, str]] = []

    def receive(sender: object, job: JobRecord, **_: object) -> None:
        told.append((current_app.name, current_job.id))

    signals.job_started.connect(receive, shop.app)
    job = shop.run(shop.later.task(add), 1)
    assert told == [("shop", job.id)]


@pytest.mark.parametrize("name", ["job_enqueued", "job_started", "job_succeeded"])
@pytest.mark.parametrize("error", [LookupError, SystemExit])
def test_a_receiver_that_raises_harms_nobody(
    shop: Shop, name: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the job nor the other receivers; it is logged."""
    told: list[str] = []

    def fail(sender: object, **_: object) -> None:
        raise error("receiver")

    def receive(sender: object, job: JobRecord, **_: object) -> None:
        told.append(job.id)

    signal = getattr(signals, name)
    signal.connect(fail, shop.app)
    signal.connect(receive, shop.app)
    job = shop.run(shop.later.task(add), 1)
    assert job.result == 2
    until(lambda: told == [job.id])
    assert "receiver of the signal" in caplog.text


def test_a_logger_that_raises_does_not_fail_the_job(shop: Shop) -> None:
    """The outcome is stored, whatever becomes of the lines about it."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    handler = Broken()
    logging.getLogger("flask_later").addHandler(handler)
    try:
        assert shop.run(shop.later.task(name="fail")(lambda: 1 / 0)).state is JobState.FAILED
        assert shop.run(shop.later.task(add), 1).result == 2
    finally:
        logging.getLogger("flask_later").removeHandler(handler)
