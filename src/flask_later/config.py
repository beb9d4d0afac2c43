"""``LATER_*`` in ``app.config``, read once into one frozen, typed :class:`Settings`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, cast

from flask_later.errors import InvalidSettingError, UnknownSettingError

PREFIX = "LATER_"
_MOST_THREADS = 1_000

_QUEUE_NAME = re.compile("[A-Za-z0-9._-]{1,64}")
_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?\Z")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an app's owner can set; ``threads`` is the key ``LATER_THREADS`` and so on.

    Durations are seconds, as numbers or :class:`~datetime.timedelta`; sizes are bytes.
    """

    #: Where jobs are kept: ``memory://`` or ``sqlite:///path``, relative to the instance folder.
    #: None: the SQLite file, or the memory under ``TESTING``.
    store: str | None = None
    #: What a job survives once ``enqueue`` has returned: ``power``, a power cut, or ``process``,
    #: the end of any process.
    durability: str = "power"
    #: Bytes that the disk has to keep free; below that, jobs are refused with ``StoreFullError``.
    min_free: int = 64 * 1024 * 1024
    #: Who brings work to the workers.
    engine: str = "native"
    #: Where the engine's broker is; the native engine has none.
    broker: str | None = None
    #: Jobs that one process runs at a time.
    threads: int = 4
    #: Whether processes that serve requests also run jobs.
    embedded: bool = True
    #: The queues, in the order in which workers take from them; None: any queue may be used.
    queues: tuple[str, ...] | None = None
    #: Nothing runs by itself, the test kit does it. None: follows ``app.testing``.
    manual: bool | None = None
    #: Jobs that may wait; one more raises ``QueueFullError``.
    max_pending: int = 100_000
    #: Callbacks that may wait in one process; one more raises ``CallbackQueueFullError``.
    max_callbacks: int = 1_000
    #: Threads that run callbacks, in each process that serves.
    callback_threads: int = 2
    #: How long a stopping process waits for what runs. Servers differ: see "Servers" in the docs.
    shutdown_timeout: float = 2.0
    #: Bytes of a job's arguments, as JSON.
    max_arguments: int = 256 * 1024
    #: Bytes of a job's result, as JSON.
    max_result: int = 1024 * 1024
    #: The folder for larger ones than go into a row of the SQLite file, relative to the instance
    #: folder. None: ``later-files`` beside that file.
    files: str | None = None
    #: How long records are kept after their end.
    keep_succeeded: float = 7 * 86_400.0
    keep_failed: float = 30 * 86_400.0
    #: Finished records kept at most.
    max_finished: int = 100_000
    #: What url_for(_external=True) builds on in jobs that no request enqueued.
    base_url: str | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read every ``LATER_*`` key of *config*.

        :raises UnknownSettingError: for a key that does not exist.
        :raises InvalidSettingError: for a value that it cannot have.
        """
        known = {PREFIX + field.name.upper(): field.name for field in fields(cls)}
        given = {key: value for key, value in config.items() if key.startswith(PREFIX)}
        for key in given:
            if key not in known:
                raise UnknownSettingError(key, sorted(known))
        return cls(**{known[key]: _READERS[known[key]](key, value) for key, value in given.items()})


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidSettingError(key, repr(value), "a text")
    return value


def _address(key: str, value: object) -> str:
    # The value is not shown: an address may hold a password.
    if not isinstance(value, str) or not value:
        raise InvalidSettingError(key, "empty" if value == "" else _kind(value), "a text")
    return value


def _url(key: str, value: object) -> str:
    url = _text(key, value)
    if not _URL.match(url):
        raise InvalidSettingError(key, repr(url), "a URL, e.g. 'https://shop.example/'")
    return url


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def flag(key: str, value: object) -> bool:
    """Return *value* if it is a bool; *key* names it in the error.

    :raises InvalidSettingError: otherwise.
    """
    if not isinstance(value, bool):
        expected = "True or False (in an environment variable: true or false)"
        raise InvalidSettingError(key, repr(value), expected)
    return value


def count(key: str, value: object) -> int:
    """Return *value* if it is a whole number of at least 1; *key* names it in the error.

    :raises InvalidSettingError: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidSettingError(key, repr(value), "a whole number of at least 1")
    return value


def _size(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidSettingError(key, repr(value), "a whole number of bytes, 0 or more")
    return value


def _durability(key: str, value: object) -> str:
    if not isinstance(value, str) or value not in ("power", "process"):
        raise InvalidSettingError(key, repr(value), "'power' or 'process'")
    return value


def _threads(key: str, value: object) -> int:
    threads = count(key, value)
    if threads > _MOST_THREADS:
        expected = f"at most {_MOST_THREADS:,}: each is a thread of every process"
        raise InvalidSettingError(key, repr(value), expected)
    return threads


def _names(key: str, value: object) -> tuple[str, ...]:
    names: object = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Sequence) or isinstance(names, bytes) or not names:
        raise InvalidSettingError(key, repr(value), "a list of queue names")
    listed = cast("Sequence[object]", names)
    return tuple(
        queue_name(name.strip() if isinstance(name, str) else name, key) for name in listed
    )


def _optional(read: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    return lambda key, value: None if value is None else read(key, value)


def seconds(key: str, value: object) -> float:
    """Return a duration in seconds; *key* names it in the error.

    :raises InvalidSettingError: if *value* is no duration, or negative.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e10:
        expected = "seconds, 0 or more, as a number or a timedelta"
        raise InvalidSettingError(key, repr(value), expected)
    return float(number)


def queue_name(name: object, key: str = "queue") -> str:
    """Return *name* if a queue can be called so: 1 to 64 letters, digits, ``.``, ``_``, ``-``.

    :raises InvalidSettingError: otherwise.
    """
    if not isinstance(name, str) or not _QUEUE_NAME.fullmatch(name):
        raise InvalidSettingError(key, repr(name), "1 to 64 of the characters A-Z a-z 0-9 . _ -")
    return name


_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "store": _optional(_address),
    "durability": _durability,
    "min_free": _size,
    "engine": _text,
    "broker": _optional(_address),
    "threads": _threads,
    "embedded": flag,
    "queues": _optional(_names),
    "manual": _optional(flag),
    "max_pending": count,
    "max_callbacks": count,
    "callback_threads": _threads,
    "shutdown_timeout": seconds,
    "max_arguments": count,
    "max_result": count,
    "files": _optional(_text),
    "keep_succeeded": seconds,
    "keep_failed": seconds,
    "max_finished": count,
    "base_url": _optional(_url),
}
