"""What one thread of the worker has in hand: jobs it has claimed, and outcomes it has to tell.

Short jobs are claimed and settled several at a time, so that they share a commit. That must not
hold up any other: what lies behind a job that turns out to be long is taken from the hand by
another thread, see :class:`Watch`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

from flask_later.core.job import JobRecord
from flask_later.runtime.threads import join_all, start_thread

T = TypeVar("T")

#: The most jobs that a thread has in hand.
_MOST = 32
#: Seconds for which outcomes may wait for those of the jobs behind theirs.
_HOLD = 0.005
#: Seconds after which a job is not short.
_SHORT = 0.002
#: Seconds between two looks of another thread at what a thread has in hand.
_LOOK_EVERY = 0.02
#: Seconds for which the thread waits for more to come, where it has done all there was.
GATHER = 0.002
#: Seconds after which a claim is doubtful: the process was stopped, say, and taken for dead.
_FRESH_FOR = 1.0


class Pace:
    """How long the jobs of each task take, so that long ones are not claimed in company."""

    def __init__(self) -> None:
        self._took: dict[str, float] = {}

    def is_short(self, task: str) -> bool:
        """Whether the jobs of *task* have been short lately; False for one that is not known."""
        return self._took.get(task, _SHORT) < _SHORT

    def note(self, task: str, seconds: float) -> None:
        """Keep that a job of *task* took so long. Only tasks that are registered come here."""
        known = self._took.get(task)
        # Not for a single one that was long: its thread may have been kept from running.
        seconds = min(seconds, 1.5 * _SHORT)
        self._took[task] = seconds if known is None else (known + seconds) / 2


class Hand(Generic[T]):
    """Of one thread; others may take from it. ``T`` is an outcome that waits to be told."""

    def __init__(self) -> None:
        self._claimed: deque[JobRecord] = deque()
        self._ended: deque[T] = deque()
        self._count = 0
        self._claims = 0
        self._took_all = False
        self._claimed_at = time.monotonic()
        #: Since when its thread has been at the same job.
        self.busy_since = self._claimed_at

    @property
    def is_empty(self) -> bool:
        return not self._claimed and not self._ended

    @property
    def is_overdue(self) -> bool:
        """Whether its outcomes have waited for long enough."""
        return bool(self._ended) and time.monotonic() - self._claimed_at > _HOLD

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self._claimed_at < _FRESH_FOR

    @property
    def claimed(self) -> list[JobRecord]:
        """What it has claimed and not begun."""
        return [*self._claimed]

    @property
    def may_gather(self) -> bool:
        """Whether short jobs come one after the other, so that the next may share a commit."""
        return self._claims > 1 and self._took_all and not self.is_overdue

    def claim(self, records: Iterable[JobRecord], wanted: int) -> None:
        """Take *records*, once all before them have begun; so many were *wanted*."""
        self._claimed.extend(records)
        self._claims += 1
        self._took_all = len(self._claimed) < wanted
        self._count = len(self._claimed)
        self._claimed_at = self.busy_since = time.monotonic()

    def begin(self) -> JobRecord | None:
        """Return the next job, if one is left."""
        self.busy_since = time.monotonic()
        return _pop(self._claimed)

    def end(self, outcome: T) -> None:
        """Keep *outcome* to be told."""
        self._ended.append(outcome)

    def take_ended(self) -> list[T]:
        return _take(self._ended)

    def take_claimed(self) -> list[JobRecord]:
        return _take(self._claimed)

    def next_size(self) -> int:
        """Return how many jobs to claim next: twice as many, if they are done within the time."""
        if not self._count:
            return 1
        each = (time.monotonic() - self._claimed_at) / self._count
        if each >= _SHORT:
            return 1
        return max(1, min(2 * self._count, _MOST, int(_HOLD / max(each, 1e-6))))


class Watch(Generic[T]):
    """All hands, and a thread that takes from those that are held up for too long."""

    def __init__(self, relieve: Callable[[Hand[T]], None]) -> None:
        self._relieve = relieve
        self._hands: set[Hand[T]] = set()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = False

    def add(self, hand: Hand[T]) -> None:
        with self._lock:
            self._hands.add(hand)

    def remove(self, hand: Hand[T]) -> None:
        with self._lock:
            self._hands.discard(hand)

    @property
    def hands(self) -> list[Hand[T]]:
        with self._lock:
            return [*self._hands]

    def start(self) -> bool:
        """Have a thread that can watch; False if there is none, so that one has to do without."""
        if self._thread is None:
            with self._lock:
                self._start()
        return self._thread is not None and not self._ending

    def _start(self) -> None:
        if self._thread is None and not self._ending:
            # None can start while the interpreter ends, nor when there are too many.
            with suppress(RuntimeError):
                self._thread = start_thread("later-watch", self._work)

    def attend(self) -> None:
        """Watch from now on, until no hand holds anything up."""
        if not self._wanted.is_set():
            self._wanted.set()

    def end(self, deadline: float) -> None:
        """Watch no more; relieve what is held up."""
        self._ending = True
        self._wanted.set()
        if self._thread is not None:
            join_all([self._thread], deadline)
        for hand in self.hands:
            self._relieve(hand)

    def _work(self) -> None:
        while not self._ending:
            if all(hand.is_empty for hand in self.hands):
                self._wanted.wait(60.0)
            self._wanted.clear()
            self._look()

    def _look(self) -> None:
        time.sleep(_LOOK_EVERY)
        late = time.monotonic() - _LOOK_EVERY
        for hand in self.hands:
            if hand.busy_since < late and not hand.is_empty:
                self._relieve(hand)


def _pop(left: deque[T]) -> T | None:
    try:
        return left.popleft()
    except IndexError:
        return None


def _take(left: deque[T]) -> list[T]:
    # As many as there were; another thread may be at it too.
    taken = (_pop(left) for _ in range(len(left)))
    return [each for each in taken if each is not None]
