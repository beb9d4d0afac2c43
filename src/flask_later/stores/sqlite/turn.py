"""The turn to write, and the line of those who wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar


class Place:
    """Where a thread waits in the line. Whoever has the turn may do what it waits for."""

    __slots__ = ("_bell", "done")

    def __init__(self) -> None:
        #: Whether what it waits for is done.
        self.done = False
        self._bell: threading.Lock | None = None

    def wait(self, timeout: float) -> bool:
        """Sleep until somebody rings; False if nobody did in time."""
        assert self._bell is not None, "it is in the line"
        return self._bell.acquire(timeout=timeout)

    def ring(self) -> None:
        # Locked by who waits, and unlocked by who rings. Twice is as good as once.
        if self._bell is not None:
            with suppress(RuntimeError):
                self._bell.release()

    def hang_bell(self) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()


P = TypeVar("P", bound=Place)


class Turn(Generic[P]):
    """A lock, whose holder takes along what the others in the line wait for.

    Nobody sleeps on the lock itself. It is free to whoever comes first; the first in the line is
    rung when it is given back, and those who were taken along when that is done. So a thread that
    is alone pays nothing for the line, and none wakes up only to wake the next.

    A signal handler that interrupts its holder gets it as well: the holder says itself from when on
    it may not be interrupted. It could not do so for the moment in which it gets the turn.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._line: deque[P] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()
        self._ring_first()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.release()

    def take(self, mine: P, patience: float) -> bool:
        """Wait for the turn; True with it, False if *mine* was done meanwhile.

        :raises TimeoutError: after *patience* seconds, unless somebody has it in hand by then.
        """
        if self._lock.acquire(blocking=False):
            return True
        mine.hang_bell()
        self._line.append(mine)
        while not mine.done:
            # Also now: the turn may have been given back before anybody saw this place.
            if self._lock.acquire(blocking=False):
                return True
            if not mine.wait(patience) and self._leave(mine):
                raise TimeoutError
        return False

    def all_waiting(self, mine: P) -> list[P]:
        """Take all out of the line, *mine* before them. Only who has the turn may ask."""
        taken = [mine]
        while self._line:
            place = self._line.popleft()
            if place is not mine:
                taken.append(place)
        return taken

    def give_back(self, places: Iterable[P]) -> None:
        """Tell those that are done, and put the others into the line again, where they were."""
        left: list[P] = []
        for place in places:
            if place.done:
                place.ring()
            else:
                left.append(place)
        if left:
            self._line.extendleft(reversed(left))

    def _leave(self, mine: P) -> bool:
        try:
            self._line.remove(mine)
        except ValueError:
            return False
        # In case it was rung just now.
        self._ring_first()
        return True

    def _ring_first(self) -> None:
        if self._line:
            # Somebody who has the turn may have taken it meanwhile.
            with suppress(IndexError):
                self._line[0].ring()
