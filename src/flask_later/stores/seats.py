"""Where a thread waits to be handed its job by the one that stores it."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Seat(Generic[T]):
    """Of a thread of *worker* that has nothing to do. ``T`` is what a transaction claimed for it.

    Who reserves it wakes the thread, so that this wakes up while the transaction is committed.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.thread = threading.get_ident()
        self._claimed: T | None = None
        #: Locked from the reservation until it is known what came of it.
        self._told: threading.Lock | None = None

    def reserve(self) -> None:
        """Have :meth:`take` wait for :meth:`give`, which has to follow whatever happens."""
        self._told = threading.Lock()
        self._told.acquire()

    def give(self, claimed: T | None) -> None:
        """Hand over what was claimed and committed, or nothing."""
        assert self._told is not None, "it is reserved"
        self._claimed = claimed
        self._told.release()

    def take(self) -> T | None:
        """Return what this thread has been given, if its seat was reserved."""
        if self._told is not None:
            self._told.acquire()
        return self._claimed
