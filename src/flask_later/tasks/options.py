"""What can be said of a task beside its function: its options, its names, and what they can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from flask_later.config import queue_name, seconds
from flask_later.core.job import HIGHEST_PRIORITY, LOWEST_PRIORITY, UniqueUntil
from flask_later.core.retry import ONCE, Retry
from flask_later.errors import InvalidSettingError, InvalidTaskError
from flask_later.errors.words import closest

#: Stands for an option that is not given, since None is a value of some.
UNSET: Any = object()
_LONGEST_NAME = 255


def _is_text(value: object) -> bool:
    """Whether *value* is a text that every store takes, of at most 255 characters."""
    return isinstance(value, str) and 1 <= len(value) <= _LONGEST_NAME and value.isprintable()


def _is_priority(value: object) -> bool:
    # A bool is an int, too.
    return type(value) is int and LOWEST_PRIORITY <= value <= HIGHEST_PRIORITY


def _is_span(value: Any) -> bool:
    return value is None or value > 0


def _is_aware(value: object) -> bool:
    return isinstance(value, datetime) and value.utcoffset() is not None


def _unique_until(value: object) -> UniqueUntil:
    if isinstance(value, str) and value in {*UniqueUntil}:
        return UniqueUntil(value)
    raise InvalidSettingError("unique_until", repr(value), "'started', 'finished' or 'gone'")


def _require_key(unique_key: object, option: str, value: object) -> None:
    """Refuse an *option* that says how long a key is held where there is no key."""
    if unique_key is None:
        raise InvalidSettingError(option, repr(value), "given beside a unique_key")


#: For each option: whether it can have a value, and what it can have.
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "priority": (
        _is_priority,
        f"a whole number, {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, higher first",
    ),
    "retry": (
        lambda value: isinstance(value, Retry),
        "a Retry, e.g. retry=Retry(max_attempts=3)",
    ),
    "timeout": (
        _is_span,
        "more than 0 seconds, or None",
    ),
    "expires": (
        _is_span,
        "more than 0 seconds, or None",
    ),
    "at": (
        lambda value: value is None or _is_aware(value),
        "an aware datetime, e.g. datetime.now(UTC) + timedelta(hours=1)",
    ),
    "unique_key": (
        lambda value: value is None or _is_text(value),
        f"1 to {_LONGEST_NAME} printable characters",
    ),
    "unique_for": (
        _is_span,
        "more than 0 seconds, or None",
    ),
    "durable": (
        lambda value: isinstance(value, bool),
        "True or False",
    ),
}


class GivenOptions(TypedDict, total=False):
    """What ``@later.task`` takes, for type checkers. None is as good as left out."""

    name: str | None
    aliases: Sequence[str]
    queue: str | None
    priority: int | None
    retry: Retry | None
    timeout: float | timedelta | None
    expires: float | timedelta | None
    durable: bool | None


#: What belongs to a task, and what to one call of it.
_OF_TASKS = tuple(name for name in GivenOptions.__annotations__ if name not in {"name", "aliases"})
_OF_CALLS = ("delay", "at", "unique_key", "unique_until", "unique_for")


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How a task's jobs are run. Durations are seconds or ``timedelta``."""

    queue: str = "default"
    priority: int = 0
    retry: Retry = ONCE
    timeout: float | None = None
    #: Seconds before the job may run, or the instant; at most one of them.
    delay: float = 0.0
    at: datetime | None = None
    #: Seconds after that within which a worker has to begin it.
    expires: float | None = None
    unique_key: str | None = None
    unique_until: UniqueUntil = UniqueUntil.FINISHED
    #: Seconds from the enqueue on for which the key is not free, whatever becomes of the job.
    unique_for: float | None = None
    #: The task insists on a store that survives the process.
    durable: bool = False

    def changed(self, **changes: Any) -> TaskOptions:
        """Return these options with *changes*; the unset are left out.

        :raises InvalidSettingError: for a value that an option cannot have.
        """
        given = {name: value for name, value in changes.items() if value is not UNSET}
        for name in ("timeout", "delay", "expires", "unique_for"):
            if given.get(name) is not None:
                given[name] = seconds(name, given[name])
        if "unique_until" in given:
            given["unique_until"] = _unique_until(given["unique_until"])
            key = given.get("unique_key", self.unique_key)
            _require_key(key, "unique_until", given["unique_until"].value)
        if "delay" in given and "at" not in given:
            given["at"] = None
        if given.get("at") is not None and "delay" not in given:
            given["delay"] = 0.0
        return replace(self, **given).checked()

    def checked(self) -> TaskOptions:
        queue_name(self.queue)
        for name, (can_have, expected) in _RULES.items():
            value = getattr(self, name)
            if not can_have(value):
                raise InvalidSettingError(name, repr(value), expected)
        if self.at is not None and self.delay:
            raise InvalidSettingError("at", repr(self.at), "left out when delay is given")
        if self.unique_for is not None:
            _require_key(self.unique_key, "unique_for", self.unique_for)
        return self

    def run_at(self, now: datetime) -> datetime:
        if self.at is not None:
            return self.at.astimezone(UTC)
        return now + timedelta(seconds=self.delay) if self.delay else now


def require_options(names: Iterable[str]) -> None:
    """Refuse options that a task cannot have.

    :raises InvalidSettingError: for one that each call has for itself.
    :raises InvalidTaskError: for one that there is not.
    """
    for name in names:
        if name in _OF_CALLS:
            ours = f"an option of using(), as in task.using({name}=...).enqueue(...)"
            raise InvalidSettingError(name, "an option of @later.task()", ours)
        if name not in _OF_TASKS:
            raise InvalidTaskError(
                f"The option {name!r}",
                f"is none that a task has.{closest(name, _OF_TASKS)}".removesuffix("."),
                f"There are: name, aliases, {', '.join(_OF_TASKS)}.",
            )


def require_name(name: object) -> None:
    """Refuse what nothing can be called: a task, a group, a service.

    :raises InvalidSettingError: naming what it can be.
    """
    if not _is_text(name):
        expected = f"1 to {_LONGEST_NAME} printable characters"
        raise InvalidSettingError("name", repr(name), expected)


def require_names(name: str | None, aliases: Sequence[str]) -> tuple[str, ...]:
    """Return *aliases* as a tuple if a task can have these names.

    :raises InvalidSettingError: otherwise.
    """
    if name is not None:
        require_name(name)
    # A text is a sequence of texts as well, of its letters.
    if isinstance(aliases, str) or not all(map(_is_text, aliases)):
        raise InvalidSettingError("aliases", repr(aliases), "a list of names")
    return tuple(aliases)
