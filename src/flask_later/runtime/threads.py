"""Threads of our own.

Not ``ThreadPoolExecutor``: it is joined before ``atexit``, waits for its whole backlog, and
refuses work while the interpreter ends. All threads of a group start at once, since none can
start any more once the interpreter has begun to end (CPython 3.12).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

_logger = logging.getLogger(__name__)


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start a daemon thread. What escapes from *target* is logged, never printed.

    ``daemon`` is said explicitly because it is inherited otherwise, and the threads of several
    servers differ in it. A thread that overruns the end of the process must not hold it.
    """

    def run() -> None:
        try:
            target()
        except BaseException:
            _logger.exception("thread %r ended with an exception", name)

    thread = threading.Thread(name=name, target=run, daemon=True)
    thread.start()
    return thread


def join_all(threads: Iterable[threading.Thread], deadline: float) -> list[threading.Thread]:
    """Wait until ``time.monotonic()`` is *deadline*; return the threads that still run."""
    alive: list[threading.Thread] = []
    for thread in threads:
        if thread is threading.current_thread():
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            alive.append(thread)
    return alive


class ThreadGroup:
    """Some threads that run the same function until it returns.

    A thread that is stuck can be replaced, as often as there are threads; then the group has
    lost them for good and says so.
    """

    def __init__(self, name: str, size: int, target: Callable[[], None]) -> None:
        self._name = name
        self._size = size
        self._target = target
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._replaced = 0

    def start(self) -> None:
        with self._lock:
            for number in range(self._size):
                self._threads.append(start_thread(f"{self._name}-{number}", self._target))

    def replace(self, thread: threading.Thread) -> bool:
        """Give up *thread*, which ends when its function returns, and start another for it."""
        with self._lock:
            if thread not in self._threads:
                return False
            self._threads.remove(thread)
            if self._replaced >= self._size:
                _logger.critical(
                    "%s: %d stuck threads were replaced already, %s is not; restart this process",
                    self._name,
                    self._replaced,
                    thread.name,
                )
                return False
            self._replaced += 1
            name = f"{self._name}-{self._size + self._replaced - 1}"
            self._threads.append(start_thread(name, self._target))
            return True

    def join(self, deadline: float) -> list[threading.Thread]:
        """Wait until ``time.monotonic()`` is *deadline*; return the threads that still run."""
        with self._lock:
            threads = list(self._threads)
        return join_all(threads, deadline)

    def __contains__(self, thread: object) -> bool:
        return thread in self._threads
