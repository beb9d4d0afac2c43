"""Maintenance: what time alone brings about. Every process does it, none is the leader."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from blinker import NamedSignal

from flask_later import signals
from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import DUE, Swept
from flask_later.errors import StoreCorruptError, StoreError
from flask_later.logs import Log
from flask_later.runtime.serving import QueueWatch
from flask_later.runtime.threads import call_until_ended, join_all, start_thread
from flask_later.runtime.worker import Worker
from flask_later.tasks.state import AppState

_logger = Log(__name__)

#: Seconds between two looks when nothing falls due before.
_TICK = 1.0
#: The same where the store says that there is nothing to look for.
_REST = 10.0
#: Rows of each kind that one look moves.
_BUDGET = 2000
#: What tells of a job whose worker died, and that does not run again.
_AFTER_A_CRASH = {
    JobState.FAILED: signals.job_failed,
    JobState.CANCELLED: signals.job_cancelled,
}


class Maintenance:
    """One thread that sweeps the store, beats for the worker and watches its timeouts."""

    def __init__(self, state: AppState, worker: Worker) -> None:
        self._state = state
        self._worker = worker
        self._store = state.parts.store
        self._queues = QueueWatch(self._store)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: The steps that failed at the last look, and how: said once.
        self._failing: dict[str, str] = {}

    def start(self) -> None:
        self._thread = start_thread("later-maintenance", self._work)

    def stop(self) -> None:
        self._stopping.set()
        self._store.wake(())

    def join(self, deadline: float) -> None:
        if self._thread is None:
            return
        wake = partial(self._store.wake, ())
        call_until_ended(wake, partial(join_all, [self._thread]), deadline)

    def look(self) -> float:
        """Do what is due now; return the seconds until the next look. A step may raise."""
        return max(0.0, min(step() for step in self._steps().values()))

    def _steps(self) -> dict[str, Callable[[], float]]:
        """What a look does, each with the seconds until it is due again."""
        steps = {"sweep": self._sweep, "beat": self._beat, "timeouts": self._watch}
        # By hand, who would serve a queue is whoever calls.
        return steps if self._state.parts.manual else {**steps, "queues": self._look_at_queues}

    def sweep(self) -> Swept:
        """Sweep the store, and say what became of jobs."""
        state = self._state
        swept = self._store.sweep(_BUDGET, state.registry.digests())
        if swept.hints:
            state.engine.deliver(swept.hints)
        for job in swept.crashed:
            self._announce(_AFTER_A_CRASH.get(job.state, signals.job_rescued), job)
        for job in swept.expired:
            self._announce(signals.job_cancelled, job)
        return swept

    def _announce(self, signal: NamedSignal, job: JobRecord) -> None:
        signals.send(signal, self._state.app, job=job, exception=None)

    def _sweep(self) -> float:
        swept = self.sweep()
        pause = _REST if swept.calm else _TICK
        if swept.next_due is None or swept.failed:
            return pause
        return min(pause, (swept.next_due - self._state.clock.now()).total_seconds())

    def _beat(self) -> float:
        if self._worker.needs_beat:
            self._worker.beat()
        return _TICK if self._worker.is_busy else _REST

    def _watch(self) -> float:
        left = self._worker.watch()
        return _REST if left is None else left

    def _look_at_queues(self) -> float:
        self._queues.look(self._state.clock.now())
        return _REST

    def _work(self) -> None:
        while not self._stopping.is_set():
            pauses = [self._try(name, step) for name, step in self._steps().items()]
            pause = max(0.0, min(pauses))
            # A stop that came meanwhile has woken those who waited then.
            if not self._stopping.is_set():
                self._stopping.wait(self._try("wait", partial(self._wait, pause)))

    def _wait(self, pause: float) -> float:
        self._store.wait((DUE,), pause)
        return 0.0

    def _try(self, name: str, step: Callable[[], float]) -> float:
        """Take *step*; one that fails does not keep the others from their work."""
        try:
            pause = step()
        except StoreCorruptError as error:
            # Said there, once for all of the process.
            self._worker.give_up(error)
            return _REST
        except StoreError as error:
            if self._is_news(name, error):
                _logger.warning(
                    "maintenance: %s failed; it goes on and says so once. %s", name, error
                )
            return _TICK
        except BaseException as error:
            if self._is_news(name, error):
                _logger.exception("maintenance: %s failed; it goes on and says so once", name)
            return _TICK
        self._failing.pop(name, None)
        return pause

    def _is_news(self, name: str, error: BaseException) -> bool:
        """Whether the step has not just failed in the same way."""
        before, self._failing[name] = self._failing.get(name), repr(error)
        return before != repr(error)
