"""The one source of time: an app has one clock, and everything asks it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What an app asks for the time.

    :meth:`wait` is here because a test that moves the time must also wake those who wait for it.
    """

    def now(self) -> datetime:
        """Return the instant, aware and in UTC; it may step back when the system's clock does."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some start; never steps back. For durations and deadlines."""
        ...

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait on *condition*, which the caller holds, for *timeout* seconds of this clock.

        Returns False when the time is over. May return early and for no reason: ask again in a
        loop, as with :meth:`threading.Condition.wait`.
        """
        ...


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        return condition.wait(timeout)


class VirtualClock:
    """A clock that stands still until :meth:`advance` moves it, and then wakes all who wait.

    :param start: its first instant, aware; the present if left out.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime.now(UTC)
        if self._start.tzinfo is None:
            raise ValueError(
                "A clock starts at an aware datetime, e.g. datetime(2026, 1, 1, tzinfo=UTC)."
            )
        self._elapsed = 0.0
        self._lock = threading.Lock()
        self._waiting: list[threading.Condition] = []

    def now(self) -> datetime:
        return self._start.astimezone(UTC) + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Move the time on by *seconds*, and wake everyone who waits on this clock."""
        if seconds < 0:
            raise ValueError("A clock only moves forward.")
        with self._lock:
            self._elapsed += seconds
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        deadline = None if timeout is None else self._elapsed + timeout
        with self._lock:
            self._waiting.append(condition)
        try:
            # Every wait is bounded in real time too, so that no test can hang on a still clock.
            condition.wait(0.05)
        finally:
            with self._lock:
                self._waiting.remove(condition)
        return deadline is None or self._elapsed < deadline
