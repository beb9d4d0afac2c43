"""When an app's store is opened: by whoever needs it first, and again as long as that fails."""

from __future__ import annotations

import os
import threading
import time

from flask_later.core.store import Store
from flask_later.errors import StoreError


class ProcessLock:
    """A lock for each process: one that was held during a fork stays locked in the child."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.RLock] = {}

    def here(self) -> threading.RLock:
        # setdefault is atomic.
        return self._locks.setdefault(os.getpid(), threading.RLock())


class Opening:
    """Opens *store* in this process. Threads that come meanwhile share the answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = ProcessLock()
        #: The process in which it was opened.
        self._pid = 0
        self._failure: StoreError | None = None
        self._failed_at = 0.0

    def open(self) -> Store:
        """Return the store, opened in this process.

        :raises StoreError: if it cannot be opened. The next call tries again.
        """
        came = time.monotonic()
        with self._lock.here():
            if self._failure is not None and self._failed_at > came:
                # Each of those who waited would wait as long again.
                raise self._failure.with_traceback(None)
            if self._pid != os.getpid():
                self._open()
        return self._store

    def _open(self) -> None:
        try:
            self._store.open()
        except StoreError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        self._failure, self._pid = None, os.getpid()

    def close(self) -> None:
        """Close it. Who has it may still use it; the next start opens it anew."""
        # Without the lock: somebody may be trying to open it, and a stop does not wait for that.
        self._pid = 0
        self._store.close()
