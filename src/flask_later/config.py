"""``LATER_*`` in ``app.config``, read once into one frozen, typed :class:`Settings`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, cast

from flask_later.errors import InvalidSettingError, UnknownSettingError
from flask_later.errors.words import with_article

PREFIX = "LATER_"
_MOST_THREADS = 1_000

#: What no broker is: an address that was written wrongly.
_PLAIN = (str, int, float, bytes, list, tuple, dict)

_QUEUE_NAME = re.compile("[A-Za-z0-9._-]{1,64}")
#: Seconds, 317 years: what lasts longer is a slip, and instants and locks have an end too.
_FOREVER = 10_000_000_000
_ORIGIN = re.compile(r"https?://[a-z0-9.:\[\]-]+")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
#: Whoever reads these can act as the client.
_SECRET = frozenset({"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_PROXY_AUTHORIZATION"})
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+\Z")
_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?\Z")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an app's owner can set; ``threads`` is the key ``LATER_THREADS`` and so on.

    Durations are seconds, as numbers or :class:`~datetime.timedelta`; sizes are bytes.
    """

    #: Where jobs are kept: ``memory://``, ``sqlite:///path``, relative to the instance folder, or a
    #: database: ``postgresql://user:password@host/database``, ``mysql://...``.
    #: None: the SQLite file, or the memory under ``TESTING``.
    #: Not shown, as it may hold a password.
    store: str | None = field(default=None, repr=False)
    #: What a job survives once ``enqueue`` has returned: ``power``, a power cut, or ``process``,
    #: the end of any process.
    durability: str = "power"
    #: Bytes that the disk has to keep free; below that, jobs are refused with ``StoreFullError``.
    min_free: int = 64 * 1024 * 1024
    #: Who brings work to the workers: ``native``, our own threads, ``celery`` or ``rq``.
    engine: str = "native"
    #: The URL of the engine's broker, or the app's own object for it; the native engine has none.
    #: Not shown either.
    broker: Any = field(default=None, repr=False)
    #: Jobs that one process runs at a time.
    threads: int = 4
    #: Whether processes that serve requests also run jobs. None: with the native engine they do.
    embedded: bool | None = None
    #: The queues, in the order in which workers take from them; None: any queue may be used.
    queues: tuple[str, ...] | None = None
    #: Nothing runs by itself, the test kit does it. None: follows ``app.testing``.
    manual: bool | None = None
    #: Jobs that may wait; one more raises ``QueueFullError``.
    max_pending: int = 100_000
    #: Operations of one principal that may wait; one more is answered 429. None: as many as may
    #: wait at all.
    max_pending_per_principal: int | None = 1_000
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
    #: The URL path under which clients follow operations; read by ``init_app``. None: they cannot.
    operations: str | None = "/operations"
    #: The most seconds for which a request waits that prefers to (``Prefer: wait``); 0: none does.
    max_wait: float = 10.0
    #: Requests that may wait so in one process, each on a thread of the server. None: one, if the
    #: process serves others meanwhile.
    max_waiters: int | None = None
    #: Whether clients may follow an operation by a stream of events, which holds a thread of the
    #: server for 25 seconds.
    events: bool = False
    #: Such streams in one process; one more is answered 503.
    max_streams: int = 2
    #: Whether clients that nobody knows may start operations; their URL is all that protects them.
    anonymous_operations: bool = True
    #: Bytes of a request's body that an async route takes, unless ``MAX_CONTENT_LENGTH`` is set.
    max_request: int = 16 * 1024 * 1024
    #: Bytes of the body of a response that is kept as the result of an async route.
    max_response: int = 64 * 1024 * 1024
    #: Names of headers that the view of an async route sees beside the usual ones.
    request_headers: tuple[str, ...] = ()
    #: Origins whose pages may cancel and delete operations, beside the app's own.
    trusted_origins: tuple[str, ...] = ()
    #: Whether a 202 also has an absolute ``Operation-Location``.
    operation_location: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read every ``LATER_*`` key of *config*.

        :raises UnknownSettingError: for a key that does not exist.
        :raises InvalidSettingError: for a value that it cannot have.
        """
        known = {PREFIX + each.name.upper(): each.name for each in fields(cls)}
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


def _broker(key: str, value: object) -> object:
    # Only the engine knows which objects it takes.
    if isinstance(value, _PLAIN):
        return _address(key, cast("object", value))
    return value


def _url(key: str, value: object) -> str:
    url = _text(key, value)
    if not _URL.match(url):
        raise InvalidSettingError(key, repr(url), "a URL, e.g. 'https://shop.example/'")
    return url


def _path(key: str, value: object) -> str:
    path = _text(key, value)
    if not _PATH.match(path):
        raise InvalidSettingError(key, repr(path), "a path of a URL, e.g. '/operations'")
    return path


def _kind(value: object) -> str:
    return with_article(type(value).__name__)


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
    return _whole(key, value, "a whole number of bytes, 0 or more")


def whole(key: str, value: object) -> int:
    """Return *value* if it is a whole number of at least 0; *key* names it in the error.

    :raises InvalidSettingError: otherwise.
    """
    return _whole(key, value, "a whole number, 0 or more")


def _whole(key: str, value: object, expected: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidSettingError(key, repr(value), expected)
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


def _headers(key: str, value: object) -> tuple[str, ...]:
    """Return the keys that a WSGI environ has for these headers."""
    names: object = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Sequence) or isinstance(names, bytes):
        raise InvalidSettingError(key, repr(value), "a list of names of headers")
    return tuple(_header(key, name) for name in cast("Sequence[object]", names))


def _origins(key: str, value: object) -> tuple[str, ...]:
    origins: object = value.split(",") if isinstance(value, str) else value
    if not isinstance(origins, Sequence) or isinstance(origins, bytes):
        raise InvalidSettingError(key, repr(value), "a list of origins")
    return tuple(_origin(key, each) for each in cast("Sequence[object]", origins))


def _origin(key: str, value: object) -> str:
    if not isinstance(value, str) or not _ORIGIN.fullmatch(value.strip()):
        raise InvalidSettingError(key, repr(value), "an origin, e.g. 'https://shop.example'")
    return value.strip()


def _header(key: str, name: object) -> str:
    if not isinstance(name, str) or not _HEADER.fullmatch(name.strip()):
        raise InvalidSettingError(key, repr(name), "the name of a header, e.g. 'X-Tenant'")
    environ_key = f"HTTP_{name.strip().upper().replace('-', '_')}"
    if environ_key in _SECRET:
        raise InvalidSettingError(key, repr(name), "a header that lets nobody in: it is stored")
    return environ_key


def _optional(read: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    return lambda key, value: None if value is None else read(key, value)


def seconds(key: str, value: object) -> float:
    """Return a duration in seconds; *key* names it in the error.

    :raises InvalidSettingError: if *value* is no duration, negative, or 10,000,000,000 (317 years)
        or more.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not 0 <= number < _FOREVER
    ):
        expected = f"seconds, 0 or more and less than {_FOREVER:,}, as a number or a timedelta"
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
    "broker": _optional(_broker),
    "threads": _threads,
    "embedded": _optional(flag),
    "queues": _optional(_names),
    "manual": _optional(flag),
    "max_pending": count,
    "max_pending_per_principal": _optional(count),
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
    "operations": _optional(_path),
    "max_wait": seconds,
    "max_waiters": _optional(whole),
    "events": flag,
    "max_streams": count,
    "anonymous_operations": flag,
    "max_request": count,
    "max_response": count,
    "request_headers": _headers,
    "trusted_origins": _origins,
    "operation_location": flag,
}
