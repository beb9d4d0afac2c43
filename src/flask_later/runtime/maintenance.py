"""Maintenance: what time alone brings about. Every process does it, none is the leader."""

from __future__ import annotations

import threading

from flask_later.core.store import DUE
from flask_later.logs import Log
from flask_later.runtime.threads import join_all, start_thread
from flask_later.runtime.worker import Worker
from flask_later.tasks.state import AppState

_logger = Log(__name__)

#: Seconds between two looks when nothing falls due before.
_TICK = 1.0
#: Rows of each kind that one look moves.
_BUDGET = 500


class Maintenance:
    """One thread that sweeps the store, beats for the worker and watches its timeouts."""

    def __init__(self, state: AppState, worker: Worker) -> None:
        self._state = state
        self._worker = worker
        self._stopping = threading.Event()

    def start(self) -> None:
        self._thread = start_thread("later-maintenance", self._work)

    def stop(self) -> None:
        self._stopping.set()
        self._state.store.wake(())

    def join(self, deadline: float) -> None:
        join_all([self._thread], deadline)

    def look(self) -> float:
        """Do what is due now; return the seconds until the next look."""
        state = self._state
        swept = state.store.sweep(_BUDGET, state.registry.digests())
        if swept.rescued:
            _logger.warning("%d attempts of dead workers were taken from them", swept.rescued)
        if swept.hints:
            state.engine.deliver(swept.hints)
        self._worker.beat()
        pause = min(_TICK, self._worker.watch() or _TICK)
        if swept.next_due is not None:
            pause = min(pause, (swept.next_due - state.clock.now()).total_seconds())
        return max(0.0, pause)

    def _work(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                pause = self.look()
                # A stop that came meanwhile has woken those who waited then.
                if not self._stopping.is_set():
                    self._state.store.wait((DUE,), pause)
                failures = 0
            except BaseException:
                failures += 1
                if failures == 1:
                    _logger.exception("maintenance failed; it goes on and says so once")
                self._stopping.wait(_TICK)
