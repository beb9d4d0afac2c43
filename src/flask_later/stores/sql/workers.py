"""Who works on this database, and who of them is alive.

A worker renews its lease with each beat. One whose lease has run out is taken for dead, and its
jobs run again; what it still writes of them is stale, by their fences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from flask_later.core.clock import Clock
from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import BEAT, LEASE, WorkerRecord
from flask_later.stores.columns import from_micros, to_micros

from .jobs import SELECT, Jobs
from .tables import job, state_is, worker

_LEASE = int(LEASE * 1e6)
#: Microseconds between two beats that are written.
_BEAT_EVERY = int(BEAT * 1e6 / 2)
#: Seconds between two looks at the row of a worker that claims.
_GLANCE_EVERY = 1.0

_ALL = select(*worker.c).order_by(worker.c.started_at, worker.c.id)
_LAST_BEAT = select(worker.c.beat_at).where(worker.c.id == bindparam("the_id"))
_BEAT = (
    update(worker).where(worker.c.id == bindparam("the_id")).values(beat_at=bindparam("beat_at"))
)
_INSERT = insert(worker)
_UPDATE = (
    update(worker)
    .where(worker.c.id == bindparam("the_id"))
    .values({each.name: bindparam(each.name) for each in worker.c if each.name != "id"})
)
_RETIRE = delete(worker).where(worker.c.id == bindparam("the_id"))
_ALIVE = select(worker.c.id).where(worker.c.beat_at >= bindparam("alive_since"))
_DEAD = select(worker.c.id).where(worker.c.beat_at < bindparam("alive_since")).limit(1)
_FORGET_DEAD = delete(worker).where(worker.c.beat_at < bindparam("alive_since"))
_ABANDONED = (
    SELECT.where(
        state_is(JobState.RUNNING),
        job.c.worker.is_not(None),
        job.c.worker.not_in(_ALIVE.scalar_subquery()),
    )
    .order_by(job.c.worker, job.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_HELD_BY = (
    SELECT.where(job.c.worker == bindparam("worker"), state_is(JobState.RUNNING))
    .order_by(job.c.seq)
    .with_for_update()
)


class Workers:
    """All of them; some are of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mine: dict[str, WorkerRecord] = {}
        #: When the row of a worker was last looked at because it claimed.
        self._glanced_at: dict[str, float] = {}

    # One's own

    def register(self, jobs: Jobs, record: WorkerRecord) -> None:
        """Make a worker known, as alive."""
        self._mine[record.id] = record
        values = {**_to_row(record), "beat_at": to_micros(jobs.now)}
        if not jobs.db.execute(_UPDATE, {**values, "the_id": record.id}).rowcount:
            jobs.db.execute(_INSERT, values)

    def beat(self, jobs: Jobs, worker_id: str) -> None:
        """Note that the worker is alive."""
        last = self._last_beat(jobs.db, worker_id)
        if last is None:
            # It was taken for dead, or has been retired, and works on.
            stranger = WorkerRecord(worker_id, "", 0, jobs.now)
            self.register(jobs, self._mine.get(worker_id, stranger))
        elif _is_old(jobs.now, last):
            jobs.db.execute(_BEAT, {"the_id": worker_id, "beat_at": to_micros(jobs.now)})

    def is_to_glance(self, worker_id: str) -> bool:
        """Whether the row of a worker that claims all the time is to be looked at again."""
        last = self._glanced_at.get(worker_id, -_GLANCE_EVERY)
        return self._clock.monotonic() - last >= _GLANCE_EVERY

    def glance(self, jobs: Jobs, worker_id: str) -> None:
        """As :meth:`beat`, for who claims all the time: looks at the row once a second."""
        if self.is_to_glance(worker_id):
            self.beat(jobs, worker_id)

    def glanced(self, worker_id: str) -> None:
        """What has just looked at the row, or written it, was committed."""
        if self.is_to_glance(worker_id):
            self._glanced_at[worker_id] = self._clock.monotonic()

    def needs_beat(self, jobs: Jobs, worker_id: str) -> bool:
        """Whether :meth:`beat` would write."""
        last = self._last_beat(jobs.db, worker_id)
        return last is None or _is_old(jobs.now, last)

    def retire(self, jobs: Jobs, worker_id: str) -> list[JobRecord]:
        """Forget the worker; return the jobs that it holds."""
        jobs.db.execute(_RETIRE, {"the_id": worker_id})
        return jobs.select(_HELD_BY, {"worker": worker_id})

    def forget(self, worker_id: str) -> None:
        """The worker is retired."""
        self._mine.pop(worker_id, None)
        self._glanced_at.pop(worker_id, None)

    def _last_beat(self, db: Connection, worker_id: str) -> int | None:
        return db.execute(_LAST_BEAT, {"the_id": worker_id}).scalar()


# All


def alive(jobs: Jobs) -> list[WorkerRecord]:
    """Return those that are alive, oldest first."""
    since = to_micros(jobs.now) - _LEASE
    rows = jobs.db.execute(_ALL).mappings()
    return [_to_worker(row) for row in rows if row["beat_at"] >= since]


def abandoned(jobs: Jobs, limit: int) -> list[JobRecord]:
    """Return running jobs whose worker is dead, locked."""
    return jobs.select(_ABANDONED, {**_bounds(jobs.now), "limit": limit})


def forget_dead(jobs: Jobs) -> None:
    """Delete the workers that are dead; their jobs are found without them."""
    if jobs.db.execute(_DEAD, _bounds(jobs.now)).first():
        jobs.db.execute(_FORGET_DEAD, _bounds(jobs.now))


def _bounds(now: datetime) -> dict[str, int]:
    return {"alive_since": to_micros(now) - _LEASE}


def _is_old(now: datetime, beat: int) -> bool:
    # One in the future: the clock was put back.
    return abs(to_micros(now) - beat) >= _BEAT_EVERY


def _to_row(record: WorkerRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "host": record.host,
        "pid": record.pid,
        "started_at": to_micros(record.started_at),
        "queues": None if record.queues is None else json.dumps(record.queues),
        "threads": record.threads,
    }


def _to_worker(row: Mapping[Any, Any]) -> WorkerRecord:
    queues = None if row["queues"] is None else tuple(json.loads(row["queues"]))
    started_at = from_micros(row["started_at"])
    return WorkerRecord(row["id"], row["host"], row["pid"], started_at, queues, row["threads"])
