"""The parent of worker processes: starts them, replaces those that end, passes the stop on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from queue import Empty, SimpleQueue
from types import FrameType
from typing import NamedTuple

from flask_later.logs import Log
from flask_later.runtime.tether import News, Order
from flask_later.runtime.threads import start_thread
from flask_later.runtime.worker_process import DAMAGED, SIGNALS, STUCK, is_ignored

_logger = Log(__name__)

#: Whether no descriptor can be handed to a child for its news.
_MUTE = sys.platform == "win32"

#: Seconds before a process that died young is started again: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
#: Seconds that a process may take for its end, besides its shutdown timeout.
_MARGIN = 5.0
#: Seconds that it may take when somebody is in a hurry.
_HURRY = 2.0
#: Seconds for which the supervisor sleeps when it expects nothing.
_LONG = 3600.0


class _Stage(Enum):
    WAITING = "waiting"  # for its (next) start
    STARTING = "starting"
    WORKING = "working"
    SPENT = "spent"  # waits for its turn to be replaced
    RECYCLING = "recycling"


@dataclass(eq=False)
class _Child:
    """A place for a process, and the one that is in it."""

    number: int
    stage: _Stage = _Stage.WAITING
    process: subprocess.Popen[bytes] | None = None
    #: When it began, or begins, by ``time.monotonic()``.
    begins: float = 0.0
    #: Deaths in a row that came soon after the start.
    early_deaths: int = 0

    @property
    def is_being_replaced(self) -> bool:
        """Whether it will soon work again. One that keeps dying does not hold up the others."""
        at_work = self.stage in (_Stage.WORKING, _Stage.SPENT)
        return not at_work and self.early_deaths == 0

    def tell(self, order: Order) -> None:
        if self.process is None or self.process.stdin is None:
            return
        with suppress(OSError):
            self.process.stdin.write(order.value)
            self.process.stdin.flush()


class _Signalled(NamedTuple):
    number: int


class _Said(NamedTuple):
    child: _Child
    process: subprocess.Popen[bytes]
    news: News


class _Ended(NamedTuple):
    child: _Child
    process: subprocess.Popen[bytes]
    code: int


_Event = _Signalled | _Said | _Ended


@dataclass
class Supervisor:
    """Keeps *count* processes of *command* at work until a signal comes.

    *command* makes the line that starts one, of the descriptor to which it sends its news. One
    that dies is replaced; soon if it had lived for a minute, else after a pause that grows.
    """

    command: Callable[[int | None], Sequence[str]]
    count: int
    #: Seconds that a process waits for its jobs when it is told to stop.
    shutdown_timeout: float
    _children: list[_Child] = field(init=False)
    _inbox: SimpleQueue[_Event] = field(default_factory=SimpleQueue[_Event], init=False)

    def run(self) -> int:
        """Supervise until a signal comes, and return the exit code.

        0 after the first signal, 128 and its number after the second; 1 if a process had to be
        killed; :data:`DAMAGED` without a signal, if the store is.
        """
        self._children = [_Child(number + 1) for number in range(self.count)]
        with self._signals():
            while True:
                self._start_due()
                self._grant_a_turn()
                event = self._next(self._until_next_start())
                if isinstance(event, _Signalled):
                    return self._stop()
                if isinstance(event, _Ended) and event.code == DAMAGED:
                    # The next one would meet the same file.
                    _let_go(event.child)
                    return self._stop() or DAMAGED
                if event is not None:
                    self._take_note(event)

    @contextmanager
    def _signals(self) -> Generator[None]:
        # SimpleQueue.put is the one that a signal handler may call.
        def on_signal(number: int, frame: FrameType | None) -> None:
            self._inbox.put(_Signalled(number))

        heard = [number for number in SIGNALS if not is_ignored(number)]
        before = {number: signal.signal(number, on_signal) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _next(self, timeout: float) -> _Event | None:
        try:
            return self._inbox.get(timeout=timeout)
        except Empty:
            return None

    # Starting

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.stage is _Stage.WAITING and child.begins <= now:
                self._start(child)

    def _until_next_start(self) -> float:
        begins = [each.begins for each in self._children if each.stage is _Stage.WAITING]
        return max(0.0, min(begins, default=time.monotonic() + _LONG) - time.monotonic())

    def _start(self, child: _Child) -> None:
        with _signals_held_back():
            process, news = _spawn(self.command)
        child.process, child.begins = process, time.monotonic()
        # Without news nobody tells when it works.
        child.stage = _Stage.WORKING if news is None else _Stage.STARTING
        start_thread("later-supervisor", lambda: self._wait_for(child, process))
        if news is not None:
            start_thread("later-supervisor", lambda: self._listen(child, process, news))

    def _wait_for(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        self._inbox.put(_Ended(child, process, process.wait()))

    def _listen(self, child: _Child, process: subprocess.Popen[bytes], news: int) -> None:
        with open(news, "rb", buffering=0) as line:
            while byte := line.read(1):
                self._inbox.put(_Said(child, process, News(byte)))

    # Replacing

    def _take_note(self, event: _Said | _Ended) -> None:
        child = event.child
        if event.process is not child.process:
            return  # late news of one that has been replaced
        if isinstance(event, _Ended):
            self._plan_next(child, event.code)
        elif event.news is News.SPENT:
            child.stage = _Stage.SPENT
        elif child.stage is _Stage.STARTING:
            child.stage = _Stage.WORKING

    def _grant_a_turn(self) -> None:
        """Let one process be replaced while all others work: one at a time."""
        if any(child.is_being_replaced for child in self._children):
            return
        for child in self._children:
            if child.stage is _Stage.SPENT:
                child.stage = _Stage.RECYCLING
                child.tell(Order.RECYCLE)
                return

    def _plan_next(self, child: _Child, code: int) -> None:
        lived = time.monotonic() - child.begins
        pid = child.process.pid if child.process else 0
        # Without news nobody asks for a turn.
        in_turn = child.stage is _Stage.RECYCLING or (_MUTE and code in (0, STUCK))
        _let_go(child)
        if in_turn:
            child.early_deaths = 0
            child.begins = time.monotonic()
            _logger.info(
                "worker process %d (pid %d) is replaced after %s",
                child.number,
                pid,
                _in_words(code),
            )
            return
        child.early_deaths = child.early_deaths + 1 if lived < _LONGEST_PAUSE else 0
        pause = _pause_after(child.early_deaths)
        child.begins = time.monotonic() + pause
        _logger.warning(
            "worker process %d (pid %d) ended with %s after %.1f s; the next starts in %.1f s",
            child.number,
            pid,
            _in_words(code),
            lived,
            pause,
        )

    # Stopping

    def _stop(self) -> int:
        _logger.info("the worker stops: jobs get %g s to end", self.shutdown_timeout)
        alive = self._tell_all(Order.STOP)
        deadline = time.monotonic() + self.shutdown_timeout + _MARGIN
        code = 0
        while alive and time.monotonic() < deadline:
            event = self._next(deadline - time.monotonic())
            if isinstance(event, _Signalled):
                code = 128 + event.number
                deadline = min(deadline, time.monotonic() + _HURRY)
                self._tell_all(Order.NOW)
            elif isinstance(event, _Ended) and event.child in alive:
                alive.remove(event.child)
                _close(event.child)
        for child in alive:
            code = code or 1
            assert child.process is not None
            _logger.warning("worker process %d did not end and is killed", child.number)
            child.process.kill()
            _close(child)
        return code

    def _tell_all(self, order: Order) -> list[_Child]:
        """Tell all processes that run, and return them."""
        alive = [child for child in self._children if child.stage is not _Stage.WAITING]
        for child in alive:
            child.tell(order)
        return alive


def _pause_after(early_deaths: int) -> float:
    if early_deaths == 0:
        return 0.0
    pause = min(_FIRST_PAUSE * 2.0 ** min(early_deaths - 1, 10), _LONGEST_PAUSE)
    return pause * random.uniform(0.8, 1.2)


def _in_words(code: int) -> str:
    """Return what the exit code of a process says."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _spawn(
    command: Callable[[int | None], Sequence[str]],
) -> tuple[subprocess.Popen[bytes], int | None]:
    """Start a process; return it, and the end of the line from which its news come."""
    if sys.platform == "win32":
        return subprocess.Popen(command(None), stdin=subprocess.PIPE), None
    read, write = os.pipe()
    try:
        process = subprocess.Popen(command(write), stdin=subprocess.PIPE, pass_fds=(write,))
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    return process, read


def _let_go(child: _Child) -> None:
    """Its process has ended; the next one has not begun."""
    _close(child)
    child.stage = _Stage.WAITING


def _close(child: _Child) -> None:
    if child.process is not None and child.process.stdin is not None:
        with suppress(OSError):
            child.process.stdin.close()
    child.process = None


@contextmanager
def _signals_held_back() -> Generator[None]:
    """Keep signals from a child until it can take them; meanwhile they wait, here as well."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
