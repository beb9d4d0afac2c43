"""What ``@later.service`` registered: names, places and what can be refused at once. No app."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from flask_later.config import seconds
from flask_later.errors import InvalidTaskError, NameTakenError
from flask_later.tasks.options import require_name

from .service import QueueService, Seconds, Service, ServiceBase

S_co = TypeVar("S_co", bound=ServiceBase, covariant=True)
Registered = TypeVar("Registered", bound="type[ServiceBase] | Callable[..., object]")


@dataclass(frozen=True, slots=True)
class ServiceDefinition(Generic[S_co]):
    """A registered service."""

    name: str
    #: The class or function that was decorated.
    target: object
    #: Makes an instance.
    make: Callable[[], S_co]
    #: The pause between two calls of ``handle``, in seconds.
    every: float = 0.0
    #: The bound of the queue; None for a service without one.
    maxsize: int | None = None


class ServiceDefinitions:
    """The services of one ``Later``, in the order of their registration, which is also that of
    their start."""

    def __init__(self) -> None:
        self._by_name: dict[str, ServiceDefinition[ServiceBase]] = {}

    def register(
        self, target: Registered, *, name: str | None = None, every: Seconds = 0.0
    ) -> Registered:
        """Register a class or function as a service, and return it.

        :param name: if left out, the name of the class or function.
        :param every: the pause between two calls of ``handle``.
        :raises InvalidTaskError: if it cannot be a service.
        :raises NameTakenError: if another service has the name.
        :raises InvalidSettingError: for a name or a pause that there cannot be.
        """
        if name is not None:
            require_name(name)
        definition = _define(target, name, seconds("every", every))
        for other in self:
            if other.target == target:
                raise InvalidTaskError(
                    f"The service {other.name!r}",
                    f"is registered twice, the second time as {definition.name!r}",
                    "Register a subclass, or another function, for a second thread.",
                )
            if other.name == definition.name:
                raise NameTakenError(
                    "service", other.name, _place(other.target), _place(definition.target)
                )
        self._by_name[definition.name] = definition
        return target

    def __iter__(self) -> Iterator[ServiceDefinition[ServiceBase]]:
        return iter(tuple(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)


class FunctionService(Service):
    """A service whose ``handle`` is a plain function."""

    def __init__(self, call: Callable[[Service], object]) -> None:
        self._call = call

    def handle(self) -> None:
        self._call(self)


def _define(target: object, name: str | None, every: float) -> ServiceDefinition[ServiceBase]:
    if isinstance(target, type):
        return _define_class(target, name or target.__name__, every)
    if not callable(target):
        raise InvalidTaskError(
            f"The service {target!r}",
            "is neither a class nor a function",
            "Decorate a subclass of Service or QueueService, or a function.",
        )
    name = name or getattr(target, "__name__", None)
    if name is None or name == "<lambda>":
        raise InvalidTaskError(
            f"The service {target!r}", "has no name of its own", "Give it one: name='...'."
        )
    return _define_function(target, name, every)


def _define_class(target: type, name: str, every: float) -> ServiceDefinition[ServiceBase]:
    what = f"The service {target.__name__}"
    if not issubclass(target, (Service, QueueService)):
        raise InvalidTaskError(
            what, "is not derived from Service or QueueService", f"Write: class {name}(Service)."
        )
    cls = cast("type[ServiceBase]", target)
    if inspect.isabstract(cls):
        raise InvalidTaskError(
            what, "has no handle()", "Define handle(self); in a QueueService handle(self, item)."
        )
    maxsize = _checked_size(what, cls)
    _check_hooks(what, cls, () if maxsize is None else ("item",))
    if not _accepts(cls):
        raise InvalidTaskError(
            what,
            "needs constructor arguments, but is made without any",
            "Read what it needs from self.app.config in startup().",
        )
    return ServiceDefinition(name, cls, cls, every, maxsize)


def _check_hooks(what: str, cls: type[ServiceBase], item: tuple[str, ...]) -> None:
    for hook, arguments in (("startup", ()), ("handle", item), ("shutdown", ())):
        _refuse_deferred(f"{what}: its {hook}()", getattr(cls, hook))
        function = inspect.getattr_static(cls, hook)
        if inspect.isfunction(function) and not _accepts(function, "self", *arguments):
            raise InvalidTaskError(
                f"{what}: its {hook}()",
                f"takes {inspect.signature(function)}",
                f"Write: def {hook}({', '.join(('self', *arguments))}).",
            )


def _define_function(
    function: Callable[..., object], name: str, every: float
) -> ServiceDefinition[ServiceBase]:
    what = f"The service {name!r}"
    _refuse_deferred(what, function)
    if _accepts(function):
        return ServiceDefinition(
            name, function, lambda: FunctionService(lambda service: function()), every
        )
    if _accepts(function, None):
        return ServiceDefinition(name, function, lambda: FunctionService(function), every)
    raise InvalidTaskError(
        what,
        f"takes {inspect.signature(function)}",
        "The function of a service takes nothing, or one argument: the service.",
    )


def _refuse_deferred(what: str, function: Callable[..., object]) -> None:
    """Refuse functions that do nothing when they are called."""
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise InvalidTaskError(
            what,
            "is async, but a service has a thread of its own and no event loop",
            "Write a plain 'def', and call asyncio.run(...) in it where you need a loop.",
        )
    if inspect.isgeneratorfunction(plain):
        raise InvalidTaskError(
            what, "is a generator, so calling it would run nothing", "Remove the 'yield'."
        )


def _accepts(function: Callable[..., object], *args: object) -> bool:
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    except ValueError:
        # Some callables written in C do not tell their signature: the call itself will show.
        return True
    return True


def _checked_size(what: str, cls: type[ServiceBase]) -> int | None:
    if not issubclass(cls, QueueService):
        return None
    if cls.maxsize < 1:
        raise InvalidTaskError(
            what,
            f"has maxsize = {cls.maxsize}, but a queue in memory is bounded",
            "Set maxsize to 1 or more.",
        )
    return cls.maxsize


def _place(target: object) -> str:
    """Return ``file:line``, for a message only: for a class it reads the file."""
    plain = inspect.unwrap(target) if callable(target) else target
    try:
        return (
            f"{inspect.getfile(cast('Any', plain))}:{inspect.getsourcelines(cast('Any', plain))[1]}"
        )
    except (OSError, TypeError):
        return f"{getattr(plain, '__module__', '?')}.{getattr(plain, '__qualname__', repr(plain))}"
