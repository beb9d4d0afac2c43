"""A lock for short critical sections that many threads enter all the time."""

from __future__ import annotations

import threading
import time


class PatientLock:
    """A lock whose waiters ask again, in place of queueing up.

    Whoever queues up for a ``threading.Lock`` is given it while it waits for the GIL, so the thread
    that runs finds the lock taken at its next step and has to give up the GIL: a convoy, in which
    every step costs two switches. Here the lock is taken by a thread that runs, and is found taken
    only when its holder was interrupted inside.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; as :meth:`threading.Lock.acquire`, for use in a ``Condition``."""
        taken = self._lock.acquire(False)
        while not taken and blocking:
            # Releases the GIL, so that the holder gets on.
            time.sleep(0)
            taken = self._lock.acquire(False)
        return taken

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        if not self._lock.acquire(False):
            self.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
