"""When a failed attempt is tried again, and what a task raises to say so itself."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from flask_later.config import count, flag, seconds
from flask_later.errors import InvalidSettingError

#: Exception classes, as :func:`isinstance` takes them.
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]

#: Beyond this many doublings every delay has long reached its cap.
_MOST_DOUBLINGS = 64


class TryAgain(Exception):  # noqa: N818 - control flow, not an error
    """Raised by a task: not now, run me again after *delay* seconds.

    It is not a failure: neither the retry budget nor any count of failures knows of it.
    """

    def __init__(self, delay: float | timedelta = 1.0) -> None:
        super().__init__(delay)
        self.delay = seconds("delay", delay)


class Failure(Exception):  # noqa: N818 - the task's own word
    """Raised by a task: it cannot be done, and *message* may be shown to clients.

    Never tried again, whatever the task's :class:`Retry` says.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FailedWith(Exception):  # noqa: N818 - what becomes of a task, and not an error of its own
    """Raised around a task: it has failed with *error*, and leaves a *result* all the same."""

    def __init__(self, error: Exception, result: object) -> None:
        super().__init__(error)
        self.error = error
        self.result = result


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task that raises is tried, and how long to wait in between.

    The wait before the second attempt is ``backoff`` seconds, doubled for each one after that, at
    most ``cap``. With ``jitter`` each wait is a random part of that, so that jobs which failed
    together do not come back together ("full jitter", AWS Architecture Blog, 2015).

    :param max_attempts: attempts in all; 1 means no retry. A crash of the process, a stop or a
        :class:`TryAgain` is not counted.
    :param on: what is worth another attempt.
    :param give_up_on: what is not, although it is an instance of ``on``.
    """

    max_attempts: int = 3
    backoff: float | timedelta = 1.0
    cap: float | timedelta = 3600.0
    jitter: bool = True
    on: ErrorTypes = Exception
    give_up_on: ErrorTypes = ()

    def __post_init__(self) -> None:
        count("Retry.max_attempts", self.max_attempts)
        seconds("Retry.backoff", self.backoff)
        seconds("Retry.cap", self.cap)
        flag("Retry.jitter", self.jitter)
        _require_errors("Retry.on", self.on)
        _require_errors("Retry.give_up_on", self.give_up_on)

    def delay_after(self, failures: int, error: BaseException, rng: random.Random) -> float | None:
        """Return the seconds to wait after failure number *failures*, or None to give up."""
        if not self.is_worth(failures, error):
            return None
        # In floats, because a timedelta overflows long before they do.
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        ceiling = min(seconds("cap", self.cap), seconds("backoff", self.backoff) * 2.0**doublings)
        return rng.uniform(0.0, ceiling) if self.jitter else ceiling

    def is_worth(self, failures: int, error: BaseException) -> bool:
        """Whether another attempt follows on failure number *failures*."""
        if failures >= self.max_attempts or not isinstance(error, self.on):
            return False
        return not isinstance(error, self.give_up_on)


def _require_errors(key: str, value: ErrorTypes) -> None:
    classes = value if isinstance(value, tuple) else (value,)
    if not all(map(_is_error, classes)):
        raise InvalidSettingError(key, repr(value), "an exception class, or a tuple of them")


def _is_error(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, BaseException)


#: What a task gets that says nothing: one attempt.
ONCE = Retry(max_attempts=1)
