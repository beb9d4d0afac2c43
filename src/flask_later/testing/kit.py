"""Work by hand: what a test calls where nothing runs by itself (``LATER_MANUAL``).

::

    app.testing = True        # turns LATER_MANUAL on
    client.post("/signup")
    run_all(app)              # runs the jobs and callbacks, on this thread
    advance(app, 60)          # and what falls due within the next minute
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from flask import Flask

from flask_later.config import seconds as to_seconds
from flask_later.core.clock import VirtualClock
from flask_later.core.engine import Ran
from flask_later.core.job import JobRecord
from flask_later.errors import EndlessWorkError, NotInitializedError, NotManualError
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.runtime.process import Process
from flask_later.signals import job_started
from flask_later.tasks.state import KEY, AppState

#: Jobs and callbacks after which one call gives up. Far more than a test means to run.
LIMIT = 10_000


def run_all(app: Flask, *, limit: int = LIMIT) -> int:
    """Run everything that can run now, on this thread; return how many jobs and callbacks ran.

    That includes what they enqueue in turn; what waits for its time waits for :func:`advance`. A
    job that raises has failed, and does not raise here: ``job.refresh().result`` does.

    :param limit: the most that may run.
    :raises NotManualError: if ``LATER_MANUAL`` is off.
    :raises EndlessWorkError: if more than *limit* run.
    """
    with _hand(app, "run_all()", limit) as hand:
        hand.run_all()
        return hand.ran


def advance(app: Flask, seconds: float | timedelta, *, limit: int = LIMIT) -> int:
    """Let time pass for *app*, and run what falls due, each at its time and in that order.

    What can run now is run first. Returns how many jobs and callbacks ran.

    :param limit: the most that may run.
    :raises NotManualError: if ``LATER_MANUAL`` is off.
    :raises EndlessWorkError: if more than *limit* run.
    """
    duration = to_seconds("seconds", seconds)
    with _hand(app, "advance()", limit) as hand:
        end = hand.clock.monotonic() + duration
        hand.run_all()
        while (left := end - hand.clock.monotonic()) > 0:
            hand.clock.advance(hand.next_step(left))
            hand.run_all()
        return hand.ran


@contextmanager
def _hand(app: Flask, asked: str, limit: int) -> Generator[_Hand]:
    """Lay hands on the work of *app*, for *asked*."""
    state: AppState | None = app.extensions.get(KEY)
    if state is None:
        raise NotInitializedError(app.name, None, asked)
    clock = state.clock
    if not state.parts.manual or not isinstance(clock, VirtualClock):
        raise NotManualError(asked, app.name)
    lifecycle: Lifecycle = app.extensions[LIFECYCLE_KEY]
    process = lifecycle.serve()
    hand = _Hand(state, process, clock, limit)
    try:
        with job_started.connected_to(hand.on_start, app):
            yield hand
    finally:
        # Nobody stops an app under test.
        process.worker.close_loops()


class _Hand:
    """The work of an app, done by hand."""

    def __init__(self, state: AppState, process: Process, clock: VirtualClock, limit: int) -> None:
        self.clock = clock
        self.ran = 0
        self._state = state
        self._process = process
        self._limit = limit
        self._last = "a callback"

    def on_start(self, app: object, *, job: JobRecord, **extra: object) -> None:
        self._last = f"a job of the task {job.task!r}"

    def run_all(self) -> None:
        """Run until nothing is left that can run now."""
        ran = -1
        while ran < self.ran:
            ran = self.ran
            self._process.maintenance.look()
            while self._run_some():
                if self.ran > self._limit:
                    raise EndlessWorkError(self._limit, self._last)

    def _run_some(self) -> int:
        # One job at a time: a callback waits no longer than the job that is running.
        ran = self._process.callbacks.run_pending() + (self._process.worker.run() is Ran.RAN)
        self.ran += ran
        return ran

    def next_step(self, left: float) -> float:
        """Return the seconds until the next row falls due, at most *left*."""
        due = self._process.maintenance.sweep().next_due
        if due is None:
            return left
        return min(left, max(0.0, (due - self.clock.now()).total_seconds()))
