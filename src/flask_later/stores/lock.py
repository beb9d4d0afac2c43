"""A lock for short critical sections that many threads enter all the time."""

from __future__ import annotations

import threading
import time

from flask_later.errors import ReentryError


class PatientLock:
    """A lock whose waiters ask again, in place of queueing up.

    Whoever queues up for a ``threading.Lock`` is given it while it waits for the GIL, so the thread
    that runs finds the lock taken at its next step and has to give up the GIL: a convoy, in which
    every step costs two switches. Here the lock is taken by a thread that runs, and is found taken
    only when its holder was interrupted inside.

    Whoever has it and asks again is a signal handler, or ``__del__``, that has interrupted its own
    thread in the middle of a step. That would never get it, and what it would see is half done.
    """

    __slots__ = ("_inside", "_lock")

    def __init__(self) -> None:
        # One that knows its holder. It may be entered twice just before a step and just after it,
        # where nothing is half done.
        self._lock = threading.RLock()
        self._inside = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; as :meth:`threading.Lock.acquire`, for use in a ``Condition``.

        :raises ReentryError: if this thread has it. Without *blocking* that is a plain False.
        """
        while not self._lock.acquire(False):
            if not blocking:
                return False
            # Releases the GIL, so that the holder gets on.
            time.sleep(0)
        if not self._inside:
            self._inside = True
            return True
        self._lock.release()
        if blocking:
            raise ReentryError()
        return False

    def release(self) -> None:
        self._inside = False
        self._lock.release()

    def __enter__(self) -> None:
        if self._inside or not self._lock.acquire(False):
            self.acquire()
        self._inside = True

    def __exit__(self, *_: object) -> None:
        self._inside = False
        self._lock.release()
