"""What may be registered as a service, and under which name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial, wraps
from typing import Any

import pytest

from flask_later.errors import InvalidSettingError, InvalidTaskError, NameTakenError
from flask_later.runtime.service import QueueService, Service, ServiceBase
from flask_later.runtime.service_definitions import ServiceDefinition, ServiceDefinitions


class Poll(Service):
    def handle(self) -> None: ...


class Mailer(QueueService[str]):
    maxsize = 5

    def handle(self, item: str) -> None: ...


def one(target: Any, **options: Any) -> ServiceDefinition[ServiceBase]:
    """Register *target*, and return its definition."""
    definitions = ServiceDefinitions()
    assert definitions.register(target, **options) is target
    (definition,) = definitions
    return definition


def test_a_class_is_named_after_itself() -> None:
    """The name of a class is its own, and it makes its instances."""
    definition = one(Poll)
    assert definition.name == "Poll"
    assert isinstance(definition.make(), Poll)
    assert definition.maxsize is None


def test_a_function_is_named_after_itself() -> None:
    """So is that of a function."""

    def drain() -> None: ...

    assert one(drain).name == "drain"


def test_a_name_may_be_given() -> None:
    """name= wins."""
    assert one(Poll, name="poll").name == "poll"


def test_every_may_be_a_timedelta() -> None:
    """Both forms of a duration mean the same."""
    assert one(Poll, every=1.5).every == 1.5
    assert one(Poll, every=timedelta(minutes=1)).every == 60


@pytest.mark.parametrize("every", [-1, float("nan"), float("inf"), timedelta(seconds=-1), "1"])
def test_every_is_zero_or_more(every: Any) -> None:
    """A pause that cannot be is refused when it is written."""
    with pytest.raises(InvalidSettingError, match="every"):
        one(Poll, every=every)


def test_a_queue_has_the_size_of_its_class() -> None:
    """maxsize is a class attribute."""
    assert one(Mailer).maxsize == 5


def test_a_queue_is_bounded() -> None:
    """Zero is not 'as many as you like', as it is in queue.Queue."""

    class Unbounded(Mailer):
        maxsize = 0

    with pytest.raises(InvalidTaskError, match="Set maxsize to 1 or more"):
        one(Unbounded)


def test_a_name_taken_twice_names_both_places() -> None:
    """The error leads to the two lines."""

    def poll() -> None: ...

    definitions = ServiceDefinitions()
    definitions.register(Poll)
    with pytest.raises(NameTakenError) as error:
        definitions.register(poll, name="Poll")
    line = poll.__code__.co_firstlineno
    assert f"test_service_definitions.py:{line}" in str(error.value)
    assert str(error.value).count("test_service_definitions.py:") == 2


def test_a_service_is_registered_once() -> None:
    """The same class under two names could not be looked up by the class."""
    definitions = ServiceDefinitions()
    definitions.register(Poll)
    with pytest.raises(InvalidTaskError, match="registered twice"):
        definitions.register(Poll, name="again")
    assert len(definitions) == 1


def test_any_other_class_is_refused() -> None:
    """A class that is not derived from ours has no wait and no stop."""

    class Plain:
        def handle(self) -> None: ...

    with pytest.raises(InvalidTaskError, match=r"Write: class Plain\(Service\)"):
        one(Plain)


def test_a_class_needs_a_handle() -> None:
    """Forgotten, or still abstract."""

    class Base(Service):
        @abstractmethod
        def handle(self) -> None: ...

    for cls in (Base, QueueService):
        with pytest.raises(InvalidTaskError, match=r"has no handle\(\)"):
            one(cls)


def test_constructor_arguments_are_refused() -> None:
    """Nobody would pass them."""

    class Configured(Poll):
        def __init__(self, url: str) -> None:
            self.url = url

    with pytest.raises(InvalidTaskError, match=r"self\.app\.config in startup\(\)"):
        one(Configured)


@pytest.mark.parametrize("hook", ["startup", "handle", "shutdown"])
def test_async_hooks_are_refused(hook: str) -> None:
    """A coroutine that nobody awaits would do nothing."""

    async def run(self: object) -> None: ...

    cls = type("Async", (Poll,), {hook: run})
    with pytest.raises(InvalidTaskError, match=rf"its {hook}\(\) is async.*asyncio\.run"):
        one(cls)


def test_functions_that_run_nothing_are_refused() -> None:
    """Coroutines, async generators and generators, behind a decorator too."""

    async def coroutine() -> None: ...

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    def generator() -> Iterator[int]:
        yield 1

    @wraps(coroutine)
    def wrapper() -> Any:
        return coroutine()

    for function in (coroutine, async_generator, generator, wrapper):
        with pytest.raises(InvalidTaskError, match=r"is async|is a generator"):
            one(function)


def test_a_function_takes_nothing_or_the_service() -> None:
    """Whatever else it needs is refused at once, not at its first call."""

    def two(service: Service, other: int) -> None: ...

    def keyword(*, service: Service) -> None: ...

    for function in (two, keyword):
        with pytest.raises(InvalidTaskError, match="takes nothing, or one argument"):
            one(function)


def test_an_argument_with_a_default_is_not_the_service() -> None:
    """A function that can be called without arguments is."""
    calls: list[int] = []

    def poll(batch: int = 100) -> None:
        calls.append(batch)

    instance = one(poll).make()
    assert isinstance(instance, Service)
    instance.handle()
    assert calls == [100]


def test_a_callable_without_a_name_needs_one() -> None:
    """A partial has no name of its own."""
    with pytest.raises(InvalidTaskError, match=r"name='\.\.\.'"):
        one(partial(print, "tick"))
    assert one(partial(print, "tick"), name="tick").name == "tick"


def test_what_cannot_be_called_is_refused() -> None:
    """A string is no service."""
    with pytest.raises(InvalidTaskError, match="neither a class nor a function"):
        one("poll")


class TakesItem(Service):
    def handle(self, item: str) -> None: ...  # type: ignore[override]


class TakesNothing(QueueService[str]):
    def handle(self) -> None: ...  # type: ignore[override]


class ShutsDownOther(Poll):
    def shutdown(self, other: str) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("service", "wanted"),
    [
        (TakesItem, r"handle\(self\)"),
        (TakesNothing, r"handle\(self, item\)"),
        (ShutsDownOther, r"shutdown\(self\)"),
    ],
)
def test_a_hook_takes_what_it_is_called_with(service: Any, wanted: str) -> None:
    """Told where it is written, and not by a service that fails for ever."""
    with pytest.raises(InvalidTaskError, match=rf"Write: def {wanted}"):
        one(service)


class HandlesAsClass(Service):
    @classmethod
    def handle(cls) -> None: ...


def test_a_hook_may_be_a_class_method() -> None:
    """The instance calls it all the same."""
    assert one(HandlesAsClass).name == "HandlesAsClass"


def test_a_lambda_needs_a_name() -> None:
    """Nobody could find it in a log."""
    with pytest.raises(InvalidTaskError, match=r"name='\.\.\.'"):
        one(lambda: None)
    assert one(lambda: None, name="nothing").name == "nothing"
