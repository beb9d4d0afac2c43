"""A process that works jobs and serves nobody: what ``flask later worker`` starts."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType

from flask_later.core.engine import Engine
from flask_later.logs import Log
from flask_later.runtime.lifecycle import Lifecycle
from flask_later.runtime.process import Process
from flask_later.runtime.resident import resident_bytes
from flask_later.runtime.tether import News, Order, Tether
from flask_later.runtime.worker_options import WorkerOptions

_logger = Log(__name__)

#: The exit code of a process that asks to be replaced because a thread of it is stuck.
STUCK = 75
#: The exit code of a process whose store is damaged: nothing changes that but somebody's hand.
DAMAGED = 65
#: Seconds between two looks at what a process may not exceed, while it works and while it idles.
_LOOK, _IDLE_LOOK = 1.0, 5.0
#: Seconds that a thread may go on after its attempt was taken from it, before it is called stuck.
_STUCK_AFTER = 5.0
#: Seconds that the jobs in hand may take to end when their process is replaced.
_RECYCLE_PATIENCE = 600.0
#: Seconds between two looks at whether all is done.
_PAUSE = 0.05
#: Seconds for the threads to end once the jobs have.
_LAST = 1.0

#: What the parent keeps back while a child starts, and what ends it. SIGHUP says that the terminal
#: is gone.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)


def is_ignored(number: int) -> bool:
    """Whether whoever started us wants this signal ignored: nohup does so with SIGHUP."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN


@dataclass(frozen=True, slots=True)
class Bounds:
    """What makes a process ask to be replaced; None for no bound."""

    jobs: int | None = None
    #: In bytes.
    memory: int | None = None


class WorkerProcess:
    """Works until it is told to stop, or is spent.

    Signals and orders only put a word into an inbox, which the main thread reads: nothing is
    interrupted half-way, and nothing raises out of a signal handler.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        engine: Engine,
        options: WorkerOptions,
        bounds: Bounds,
        shutdown_timeout: float,
        tether: Tether,
    ) -> None:
        self._lifecycle = lifecycle
        self._engine = engine
        self._options = options
        self._bounds = bounds
        self._shutdown_timeout = shutdown_timeout
        self._tether = tether
        # The one queue that a signal handler may put into. None: look at once at the bounds.
        self._inbox: SimpleQueue[Order | None] = SimpleQueue()
        self._signalled = 0
        #: Attempts that had ended at the last look.
        self._ended = 0
        self._stuck_since: float | None = None

    def run(self) -> int:
        """Work, and return the exit code.

        :raises StoreError: if the store cannot be opened; then nothing was claimed.
        """
        self._take_signals()
        self._tether.listen(self._inbox.put)
        process = self._lifecycle.work(self._options)
        process.worker.on_damage = lambda: self._inbox.put(Order.STOP)
        process.worker.on_ended = self._count
        self._tether.say(News.WORKING)
        if process.worker.damage is None and self._work(process) is Order.RECYCLE:
            return self._recycle(process)
        self._leave(process, self._shutdown_timeout)
        return 0 if process.worker.damage is None else DAMAGED

    def _take_signals(self) -> None:
        for number in SIGNALS:
            if not is_ignored(number):
                signal.signal(number, self._on_signal)
        if hasattr(signal, "pthread_sigmask"):
            # The supervisor held them back until somebody could take them.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled += 1
        self._inbox.put(Order.STOP if self._signalled == 1 else Order.NOW)

    def _count(self, ended: int) -> None:
        # Thousands may end in the second between two looks.
        if ended == self._bounds.jobs:
            self._inbox.put(None)

    def _next(self, timeout: float) -> Order | None:
        try:
            return self._inbox.get(timeout=timeout)
        except Empty:
            return None

    def _work(self, process: Process) -> Order:
        """Return the order that ends the work."""
        asked = False
        while True:
            reason = None if asked else self._reason_to_recycle(process)
            if reason is not None:
                asked = True
                _logger.info("this worker process is to be replaced: %s", reason)
                if not self._tether.say(News.SPENT):
                    return Order.RECYCLE
            order = self._next(_LOOK if self._is_active(process) else _IDLE_LOOK)
            if order is not None:
                return order

    def _is_active(self, process: Process) -> bool:
        """Whether anything has gone on since the last look."""
        before, self._ended = self._ended, process.worker.ended
        return self._ended != before or process.worker.is_busy or bool(process.worker.stuck)

    def _reason_to_recycle(self, process: Process) -> str | None:
        ended = process.worker.ended
        if self._bounds.jobs is not None and ended >= self._bounds.jobs:
            return f"it has run {ended:,} jobs (--max-jobs)"
        memory = None if self._bounds.memory is None else resident_bytes()
        if self._bounds.memory is not None and memory is not None and memory > self._bounds.memory:
            return f"it has {memory / 2**20:,.0f} MB of memory (--max-memory)"
        return self._reason_of_stuck(process.worker.stuck)

    def _reason_of_stuck(self, stuck: tuple[str, ...]) -> str | None:
        if not stuck:
            self._stuck_since = None
            return None
        now = time.monotonic()
        if self._stuck_since is None:
            self._stuck_since = now
        if now - self._stuck_since < _STUCK_AFTER:
            return None
        return f"the threads of the jobs {', '.join(stuck)} go on after their timeout"

    def _recycle(self, process: Process) -> int:
        """Let the jobs in hand end, without asking them to, and leave."""
        self._engine.close(0.0)
        order = self._wait(process, _RECYCLE_PATIENCE, (Order.STOP, Order.NOW))
        code = STUCK if process.worker.stuck else 0
        self._leave(process, 0.0 if order is Order.NOW else self._shutdown_timeout)
        return code

    def _leave(self, process: Process, patience: float) -> None:
        """Tell what runs, wait for it, and give back what is left."""
        self._lifecycle.tell()
        self._wait(process, patience, (Order.NOW,))
        hurried = process.worker.is_busy
        self._lifecycle.finish(time.monotonic() + (0.0 if hurried else _LAST))

    def _wait(self, process: Process, patience: float, ends: tuple[Order, ...]) -> Order | None:
        """Wait until no job is in hand, at most *patience* seconds, or for an order of *ends*."""
        deadline = time.monotonic() + patience
        while process.worker.is_busy and time.monotonic() < deadline:
            order = self._next(_PAUSE)
            if order in ends:
                return order
        return None
