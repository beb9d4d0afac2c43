"""The task: a registered function with its options."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from flask_later.core.naming import module_name
from flask_later.core.retry import Retry
from flask_later.errors import ArgumentsError, InvalidSettingError, InvalidTaskError
from flask_later.errors.words import with_article
from flask_later.tasks import enqueue
from flask_later.tasks.job import Job
from flask_later.tasks.options import UNSET, TaskOptions
from flask_later.tasks.place import place_of, place_of_caller
from flask_later.tasks.shapes import shapes_of

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

#: How others spell it; asking for one of these is answered with our word.
_FOREIGN_VERBS = {
    "delay": "{task}.enqueue(...) (later: {task}.using(delay=60).enqueue(...))",
    "apply_async": "{task}.using(...).enqueue(...)",
    "send": "{task}.enqueue(...)",
    "defer": "{task}.enqueue(...)",
    "schedule": "{task}.using(delay=60).enqueue(...)",
    "s": "{task}.call(...)",
    "queue": "{task}.enqueue(...)",
}


class Definition:
    """A task's function and what is known of it; the same for all copies with other options."""

    def __init__(
        self, function: Callable[..., Any], name: str, aliases: tuple[str, ...] = ()
    ) -> None:
        self.function = function
        self.name = name
        self.aliases = aliases
        self.short_name = str(getattr(function, "__name__", name))
        self.signature = inspect.signature(function)
        self.place = place_of(function)
        parameters = self.signature.parameters.values()
        self.parameter_names = tuple(
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        )
        self._is_plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self._required = frozenset(p.name for p in parameters if p.default is p.empty)
        #: How many values a call without names may have, where all parameters are plain.
        self._numbers = range(len(self._required), len(self.parameter_names) + 1)

    @cached_property
    def digest(self) -> str:
        """What the arguments have to fit: a parked job is tried again when this changes.

        The parameters, and the enums and dataclasses that annotate them.
        """
        parameters = self.signature.parameters.values()
        shape = [(p.name, p.kind.name, p.default is p.empty) for p in parameters]
        text = repr((shape, shapes_of(self.function)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def fits(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
        """Whether the function can be called so."""
        if not self._is_plain:
            return self.misfit(args, kwargs) is None
        # The same answer as bind(), at a tenth of its cost: this is asked twice for each job.
        given = len(args)
        if not kwargs:
            return given in self._numbers
        names, named = self.parameter_names, kwargs.keys()
        return (
            given <= len(names)
            and named <= frozenset(names[given:])
            and self._required.issubset({*names[:given], *named})
        )

    def misfit(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
        """Say why the function cannot be called so, or None."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            return str(error)
        return None


class Task(Generic[P, R_co]):
    """A registered function. Calling it calls the function, here and now.

    Made by ``@later.task`` or ``@group.task``, never directly.
    """

    def __init__(self, definition: Definition, options: TaskOptions) -> None:
        # Without the function's attributes, which could hide our own.
        update_wrapper(self, definition.function, updated=())
        self.definition = definition
        self.options = options

    @property
    def name(self) -> str:
        """What the task is called in the store: ``module.function``, or ``group.function``."""
        return self.definition.name

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return cast(R_co, self.definition.function(*args, **kwargs))

    @overload
    def enqueue(
        self: Task[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[T]: ...
    @overload
    def enqueue(self: Task[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]: ...
    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Job[Any]:
        """Store a job that calls the function with these arguments, and return its handle.

        When this returns the job is stored. It runs at least once on a durable store.

        :raises ArgumentsError: if they do not fit the function.
        :raises NotSerializableError: if one of them cannot be stored as JSON.
        :raises PayloadTooLargeError: above ``LATER_MAX_ARGUMENTS``.
        :raises UnknownQueueError: if ``LATER_QUEUES`` is a list without the task's queue.
        :raises QueueFullError: if ``LATER_MAX_PENDING`` jobs wait.
        :raises NotServingError: on a memory store in a process that runs no jobs.
        :raises OutsideAppContextError: where no app is active.
        """
        return enqueue.one(cast("Task[..., Any]", self), args, kwargs)

    @overload
    def call(
        self: Task[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Call[T]: ...
    @overload
    def call(self: Task[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Call[T]: ...
    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[Any]:
        """Return the call as a value, for ``later.enqueue_many`` and ``later.schedule``.

        :raises ArgumentsError: if the arguments do not fit the function.
        """
        self.require_fit(args, kwargs)
        return Call(cast("Task[..., Any]", self), args, kwargs)

    def using(
        self,
        *,
        queue: str = UNSET,
        priority: int = UNSET,
        retry: Retry = UNSET,
        timeout: float | timedelta | None = UNSET,
        delay: float | timedelta = UNSET,
        at: datetime | None = UNSET,
        expires: float | timedelta | None = UNSET,
        unique_key: str | None = UNSET,
        unique_until: Literal["started", "finished", "gone"] = UNSET,
        unique_for: float | timedelta | None = UNSET,
    ) -> Task[P, R_co]:
        """Return the task with other options; this one stays as it is.

        :param delay: seconds before the job may run; or ``at``, the instant.
        :param expires: seconds after that within which a worker has to begin it; otherwise it is
            cancelled.
        :param unique_key: while a job holds the key no other is stored: an enqueue returns the one
            that is there, marked as ``job.duplicate``.
        :param unique_until: what ends that: the job has begun (``"started"``), has ended
            (``"finished"``), or its record is deleted (``"gone"``).
        :param unique_for: seconds from the enqueue on for which the key is held besides, also when
            the job has ended before.

        ``retry`` is the worker's to know, so it cannot differ from job to job: set it where the
        task is defined.

        :raises InvalidSettingError: for a value that an option cannot have.
        """
        if retry is not UNSET:
            raise InvalidSettingError(
                "retry", "an option of using()", "an option of @later.task(retry=...)"
            )
        changes = {
            "queue": queue,
            "priority": priority,
            "timeout": timeout,
            "delay": delay,
            "at": at,
            "expires": expires,
            "unique_key": unique_key,
            "unique_until": unique_until,
            "unique_for": unique_for,
        }
        return Task(self.definition, self.options.changed(**changes))

    @overload
    def job(self: Task[P, Coroutine[Any, Any, T]], job_id: str) -> Job[T]: ...
    @overload
    def job(self: Task[P, T], job_id: str) -> Job[T]: ...
    def job(self, job_id: str) -> Job[Any]:
        """Return the job of this task with this id.

        :raises JobNotFoundError: if there is none, or it is another task's.
        """
        return enqueue.find(job_id, cast("Task[..., Any]", self))

    def require_fit(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Raise :class:`ArgumentsError` unless the function can be called so."""
        definition = self.definition
        if not definition.fits(args, kwargs):
            reason = definition.misfit(args, kwargs) or "the arguments do not fit"
            signature = f"{definition.short_name}{definition.signature}"
            raise ArgumentsError(self.name, reason, signature, place_of_caller())

    # Type checkers would take every misspelt attribute for one that is there.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in _FOREIGN_VERBS:
                short = self.definition.short_name
                ours = _FOREIGN_VERBS[name].format(task=short)
                raise AttributeError(
                    f"task {short!r} has no {name!r}. Use {ours}. "
                    f"Calling {short}(...) runs it now, in this process."
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


@dataclass(frozen=True, slots=True)
class Call(Generic[R_co]):
    """A task with its arguments, not yet a job."""

    task: Task[..., Any]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]


def task_name(function: Callable[..., Any], group: str | None) -> str:
    """Return the name of a task, the same in every process.

    :raises InvalidTaskError: if *function* has no name that finds it again.
    """
    name = getattr(function, "__qualname__", "")
    if not name or "<lambda>" in name:
        raise InvalidTaskError(
            "A lambda or an unnamed callable",
            "cannot be a task, because stored jobs find their function by its name",
            "Write it with def, or give a name: @later.task(name='...').",
        )
    name = name.replace("<locals>.", "")
    return f"{group}.{name}" if group else f"{module_name(function.__module__)}.{name}"


def require_function(function: object, *, may_yield: bool = False) -> Callable[..., Any]:
    """Return *function* if it can be a task.

    :param may_yield: whether somebody takes what a generator yields.
    :raises InvalidTaskError: otherwise.
    """
    if isinstance(function, Task):
        raise InvalidTaskError(
            repr(cast("Task[..., object]", function)),
            "is a task already",
            "Use the decorator once, or task.using(...).",
        )
    if not callable(function) or inspect.isclass(function):
        raise InvalidTaskError(
            with_article(type(function).__name__, "A"), "cannot be a task", "Decorate a function."
        )
    yields = inspect.isgeneratorfunction(function) and not may_yield
    if yields or inspect.isasyncgenfunction(function):
        raise InvalidTaskError(
            f"The generator {getattr(function, '__name__', '')!r}",
            "cannot be a task, because nobody takes what it yields",
            "Return a list, and tell the progress with current_job.track(...).",
        )
    if is_method(function):
        raise InvalidTaskError(
            f"The method {getattr(function, '__qualname__', '')!r}",
            "cannot be a task, because a worker has no object to call it on",
            "Write a function that finds the object, by an id that it is given, and calls it.",
        )
    try:
        inspect.signature(function)
    except ValueError:
        raise InvalidTaskError(
            repr(function),
            "has no signature that arguments could be held against",
            "Write a function that calls it.",
        ) from None
    return function


def is_method(function: Callable[..., Any]) -> bool:
    """Whether *function* stands in the body of a class and takes its object."""
    scope = getattr(function, "__qualname__", "").rpartition(".")[0]
    code = getattr(function, "__code__", None)
    if inspect.ismethod(function) or code is None or not scope or scope.endswith("<locals>"):
        return False
    return code.co_varnames[: min(1, code.co_argcount)] in (("self",), ("cls",))
