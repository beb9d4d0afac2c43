"""Who works on this file, and who of them is alive."""

from __future__ import annotations

import json
from typing import NamedTuple

from flask_later.core.clock import Clock
from flask_later.core.job import JobRecord
from flask_later.core.store import LEASE, WorkerRecord

from .connection import Connection
from .jobs import Jobs
from .locks import boot_id
from .rows import Row, from_micros, to_micros

_BEAT = "UPDATE worker SET boot = ?, beat = ? WHERE id = ?"
_REGISTER = """
    INSERT OR REPLACE INTO worker (id, host, pid, started_at, queues, threads, boot, beat)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_LISTED = """
    SELECT id, host, pid, started_at, queues, threads FROM worker
    WHERE boot = ? AND beat >= ? ORDER BY started_at
"""
_ALIVE = "(SELECT id FROM worker WHERE boot = ? AND beat >= ?)"
_ABANDONED = (
    "WHERE state = 'running' AND (worker IS NULL OR worker NOT IN "
    + _ALIVE
    + ") ORDER BY worker, seq LIMIT ?"
)
_FORGET = "DELETE FROM worker WHERE id NOT IN " + _ALIVE


class Moment(NamedTuple):
    """When a beat was: comparable within one boot of the machine."""

    boot: str
    beat: float


class Workers:
    """Beats are measured by the time since the boot, which no change of the clock moves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot = boot_id()
        self._known: dict[str, WorkerRecord] = {}

    def register(self, db: Connection, worker: WorkerRecord) -> None:
        self._known[worker.id] = worker
        db.execute(_REGISTER, (*_to_row(worker), *self._moment()))

    def alive(self, db: Connection) -> list[WorkerRecord]:
        """Return those that are alive, oldest first."""
        return [_to_worker(*row) for row in db.all(_LISTED, self._oldest())]

    def beat(self, db: Connection, worker: str) -> None:
        """Note that *worker* is alive."""
        if db.execute(_BEAT, (*self._moment(), worker)):
            return
        # It was taken for dead, or has been retired, and works on.
        stranger = WorkerRecord(worker, "", 0, self._clock.now())
        self.register(db, self._known.get(worker, stranger))

    def retire(self, db: Connection, worker: str) -> None:
        self._known.pop(worker, None)
        db.execute("DELETE FROM worker WHERE id = ?", (worker,))

    def abandoned(self, jobs: Jobs, limit: int) -> list[JobRecord]:
        """Return running jobs whose worker is dead."""
        return jobs.select(_ABANDONED, (*self._oldest(), limit))

    def forget_dead(self, db: Connection) -> None:
        """Delete the workers that are dead; their jobs are found without them."""
        db.execute(_FORGET, self._oldest())

    def _moment(self) -> Moment:
        # Where nothing names the boot, the monotonic time of two boots would look comparable.
        clock = self._clock
        return Moment(self._boot, clock.monotonic() if self._boot else clock.now().timestamp())

    def _oldest(self) -> Moment:
        """Return the oldest beat that still proves life."""
        boot, beat = self._moment()
        return Moment(boot, beat - LEASE)


def _to_row(worker: WorkerRecord) -> Row:
    queues = None if worker.queues is None else json.dumps(worker.queues)
    started_at = to_micros(worker.started_at)
    return (worker.id, worker.host, worker.pid, started_at, queues, worker.threads)


def _to_worker(
    worker: str, host: str, pid: int, started_at: int, queues: str | None, threads: int
) -> WorkerRecord:
    names = None if queues is None else tuple(json.loads(queues))
    return WorkerRecord(worker, host, pid, from_micros(started_at), names, threads)
