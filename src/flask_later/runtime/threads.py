"""Threads of our own.

Not ``ThreadPoolExecutor``: it is joined before ``atexit``, waits for its whole backlog, and
refuses work while the interpreter ends. All threads of a group start at once, since none can
start any more once the interpreter has begun to end (CPython 3.12).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from flask_later.logs import Log

_logger = Log(__name__)

#: Seconds between two calls to threads that are to end.
_CALL_AGAIN = 0.05


def is_interrupt(error: BaseException) -> bool:
    """Whether *error* is somebody's Ctrl-C. On a thread of ours it was only raised by its name."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and on_main_thread


def make_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Return a daemon thread, not yet started. What escapes from *target* is logged.

    ``daemon`` is said explicitly because it is inherited otherwise, and the threads of several
    servers differ in it. A thread that overruns the end of the process must not hold it.
    """

    def run() -> None:
        try:
            target()
        except BaseException:
            _logger.exception("thread %r ended with an exception", name)

    return threading.Thread(name=name, target=run, daemon=True)


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start a thread as :func:`make_thread` makes it, and return it."""
    thread = make_thread(name, target)
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


def call_until_ended(
    call: Callable[[], None],
    join: Callable[[float], list[threading.Thread]],
    deadline: float,
) -> None:
    """Wake the threads that *join* waits for, until they have ended or it is *deadline*.

    One that was about to lie down does not hear the first call.
    """
    while True:
        call()
        until = min(deadline, time.monotonic() + _CALL_AGAIN)
        if not join(until) or time.monotonic() >= deadline:
            return


class ThreadGroup:
    """Some threads that run the same function until it returns.

    A thread that is stuck can be replaced, but no more of them may be stuck at a time than the
    group has threads: then it goes on with fewer, says so, and makes up for it as they end.
    """

    def __init__(self, name: str, size: int, target: Callable[[], None]) -> None:
        self._name = name
        self._size = size
        self._target = target
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._given_up: list[threading.Thread] = []
        self._started = 0
        self._ending = False

    @property
    def threads(self) -> list[threading.Thread]:
        """Those that belong to the group now; the stuck do not."""
        with self._lock:
            return [*self._threads]

    def start(self) -> None:
        with self._lock:
            for _ in range(self._size):
                self._start_one()

    def replace(self, thread: threading.Thread) -> bool:
        """Give up *thread*, which ends when its function returns, and start another for it.

        Returns whether another was started.
        """
        with self._lock:
            if thread not in self._threads:
                return False
            self._threads.remove(thread)
            stuck = [*self._given_up]
            self._given_up.append(thread)
            if len(stuck) >= self._size:
                _logger.critical(
                    "%s: %d stuck threads were replaced and still run; %s is not replaced. "
                    "Fewer jobs run until they end. Give the tasks that hang a cancellation point",
                    self._name,
                    len(stuck),
                    thread.name,
                )
                return False
            self._start_one()
            return True

    def _start_one(self) -> None:
        thread = make_thread(f"{self._name}-{self._started}", self._run)
        self._started += 1
        # Known before it runs, since it may ask whether it belongs to the group.
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self._make_up_for(threading.current_thread())

    def _make_up_for(self, thread: threading.Thread) -> None:
        """Start another thread for *thread*, which was stuck and has ended, if one is missing."""
        with self._lock:
            if thread not in self._given_up:
                return
            self._given_up.remove(thread)
            if len(self._threads) < self._size and not self._ending:
                self._start_one()

    def join(self, deadline: float) -> list[threading.Thread]:
        """Wait until ``time.monotonic()`` is *deadline*; return the threads that still run."""
        with self._lock:
            self._ending = True
            threads = list(self._threads)
        return join_all(threads, deadline)

    def __contains__(self, thread: object) -> bool:
        return thread in self._threads
