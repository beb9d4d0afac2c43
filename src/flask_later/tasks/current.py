"""``current_job``: what a running task can say and ask about itself."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from datetime import datetime
from math import inf, isfinite, nan
from numbers import Real
from typing import TypeVar, cast

from werkzeug.local import LocalProxy

from flask_later.core.exchange import Claim, Note
from flask_later.core.job import Progress, StopReason
from flask_later.errors import InvalidSettingError
from flask_later.errors.words import with_article
from flask_later.logs import Log
from flask_later.tasks.snapshot import NO_REQUEST, Snapshot

T = TypeVar("T")

_logger = Log("flask_later.job")

#: Log lines that wait to be stored; a task that writes faster loses the oldest.
_MAX_LINES = 1_000
#: Characters of a stored line or message; the rest is cut off.
_MAX_TEXT = 4_000
#: Larger numbers are kept as floats.
_LARGE = 2**53


class JobStopped(BaseException):
    """Raised inside a task that was asked to stop, at its next cancellation point.

    No ``Exception``, so that a task which catches those still ends. Clean up in ``finally``.
    """

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


def storable(text: str) -> str:
    """Return *text* without what no database takes: lone surrogates and NUL are written out."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _line(message: object) -> str:
    return storable(str(message)[:_MAX_TEXT])[:_MAX_TEXT]


def _number(name: str, value: object) -> float:
    """Return *value* as a number that every store takes.

    :raises InvalidSettingError: if it is none, or not finite.
    """
    if type(value) is int and -_LARGE < value < _LARGE:
        return value
    number = _as_float(value) if isinstance(value, Real) else nan
    if not isfinite(number):
        raise InvalidSettingError(f"{name} of progress()", _shown(value), "a finite number")
    return number


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:
        # A number of more digits than Python writes, say.
        return with_article(type(value).__name__)


def _as_float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf


class Attempt:
    """One run of a job, as its task sees it through ``current_job``.

    Outside of a job there is a *detached* one: its progress goes nowhere and it is never asked to
    stop, so that a task can be called like any function.
    """

    __slots__ = (
        "_lines",
        "_news",
        "_on_stop",
        "_owned",
        "_progress",
        "_stop_reason",
        "attempt",
        "claim",
        "failures",
        "fence",
        "id",
        "latest_progress",
        "queue",
        "scheduled_at",
        "snapshot",
        "task",
    )

    def __init__(
        self,
        id: str = "",
        task: str = "",
        queue: str = "",
        fence: int = 0,
        attempt: int = 1,
        scheduled_at: datetime | None = None,
        snapshot: Snapshot = NO_REQUEST,
        news: Callable[[Attempt], None] | None = None,
        failures: int = 0,
    ) -> None:
        #: The job's id; empty when detached. Good as an idempotency key for third parties.
        self.id = id
        #: The task's name.
        self.task = task
        self.queue = queue
        #: Counts every hand-over of the job: hand it on to systems that can refuse an older one.
        self.fence = fence
        #: 1 for the first attempt.
        self.attempt = attempt
        #: How many attempts have failed before.
        self.failures = failures
        #: The tick of the schedule that made the job.
        self.scheduled_at = scheduled_at
        #: What crossed over from the request.
        self.snapshot = snapshot
        self.claim = Claim(id, fence)
        self._news = news
        self._stop_reason: StopReason | None = None
        self._progress: Progress | None = None
        #: What the task has told last.
        self.latest_progress: Progress | None = None
        self._lines: deque[str] | None = None
        self._on_stop: Callable[[StopReason], None] | None = None
        self._owned = True

    # For the task

    @property
    def is_detached(self) -> bool:
        """Whether the task was called as a function, outside of any job."""
        return self._news is None

    @property
    def cancelled(self) -> bool:
        """Whether the task should end: it was cancelled, timed out, or the process stops."""
        return self._stop_reason is not None

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the task should end, or None."""
        return self._stop_reason

    def checkpoint(self) -> None:
        """End here if the task should end.

        :raises JobStopped: if it should.
        """
        if self._stop_reason is not None:
            raise JobStopped(self._stop_reason)

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the task has come. Cheap: what is stored is throttled to twice a second.

        :raises InvalidSettingError: for what is no finite number.
        """
        current = _number("current", current)
        total = None if total is None else _number("total", total)
        if self._news is not None:
            progress = Progress(current, total, _line(message) if message else "")
            self._progress = self.latest_progress = progress
            self._news(self)

    def track(
        self, items: Iterable[T], total: float | None = None, message: str = ""
    ) -> Iterator[T]:
        """Yield *items*, telling the progress after each.

        Before each item is a cancellation point and a shutdown point: there the task ends with
        :class:`JobStopped` if it should. *total* is the length of *items* where they have one.
        """
        if total is None and isinstance(items, Sized):
            total = len(items)
        self.progress(0, total, message)
        for number, item in enumerate(items, start=1):
            self.checkpoint()
            yield item
            self.progress(number, total, message)

    def log(self, message: object) -> None:
        """Keep a line with the job, for whoever looks at it later; it is logged as well."""
        _logger.info("%s", message)
        if self._news is not None:
            if self._lines is None:
                self._lines = deque(maxlen=_MAX_LINES)
            self._lines.append(_line(message))
            self._news(self)

    # For the worker

    def ask_to_stop(self, reason: StopReason) -> None:
        """Make the next cancellation point end the task. The first reason stays."""
        if self._stop_reason is None:
            self._stop_reason = reason
            if self._on_stop is not None:
                self._on_stop(reason)

    def on_stop(self, tell: Callable[[StopReason], None]) -> None:
        """Have *tell* called once the task should end; at once if it already should."""
        self._on_stop = tell
        if self._stop_reason is not None:
            tell(self._stop_reason)

    def take_note(self) -> Note | None:
        """Return what is new since the last call, or None."""
        if self._progress is None and not self._lines:
            return None
        progress, self._progress = self._progress, None
        lines: list[str] = []
        while self._lines:
            lines.append(self._lines.popleft())
        return Note(self.claim, progress, lines) if progress is not None or lines else None

    def disown(self) -> bool:
        """Take the right to settle this attempt; False for everybody but the first."""
        with _ownership:
            owned, self._owned = self._owned, False
        return owned


#: One lock for all attempts: it is held for two assignments, and one a job would cost more.
_ownership = threading.Lock()
_detached = Attempt()
current_attempt: ContextVar[Attempt] = ContextVar("flask_later.current_attempt", default=_detached)

#: The attempt that runs here; a detached one outside of a job.
current_job: Attempt = cast(Attempt, LocalProxy(current_attempt))
