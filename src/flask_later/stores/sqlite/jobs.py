"""The jobs, as one transaction sees and changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from flask_later.core.job import FINISHED, PENDING, JobRecord, JobState
from flask_later.core.states import holds_key

from .connection import Connection
from .rows import FIELDS, NewRow, changes, from_micros, to_micros, to_record

# Composed of the names of columns, once; values are always bound.
SELECT = f"SELECT {', '.join(FIELDS)} FROM job "
# However many finished jobs have the same key, neither reads those that have let go of it.
UNFINISHED_WITH_KEY = (
    "WHERE unique_key = ? AND state IN ('held', 'scheduled', 'queued', 'running', 'parked') "
    "ORDER BY seq"
)
LAST_TO_FREE_KEY = "WHERE unique_key = ? AND key_free_at > ? ORDER BY key_free_at DESC, seq DESC"
# Each count is of an index of its own, and reads no job.
COUNT_PENDING = """
    SELECT (SELECT count(*) FROM job WHERE state = 'queued')
        + (SELECT count(*) FROM job WHERE state = 'scheduled')
        + (SELECT count(*) FROM job WHERE state = 'held')
"""
_TALLY = "SELECT pending FROM tally"
_ADD_TO_TALLY = "UPDATE tally SET pending = pending + ?"
DUE_BEFORE = "WHERE state = 'scheduled' AND run_at <= ? ORDER BY run_at, seq LIMIT ?"
HELD_BY = "WHERE state = 'running' AND worker = ? ORDER BY seq"
_NEXT_DUE = "SELECT min(run_at) FROM job WHERE state = 'scheduled'"


@cache
def _insert(names: tuple[str, ...]) -> str:
    """Return the statement that stores those columns of a job, unless its id is there."""
    marks = ", ".join("?" for _ in names)
    return f"INSERT INTO job ({', '.join(names)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"


@cache
def _update(names: tuple[str, ...]) -> str:
    """Return the statement that changes those columns of a job, if its fence is still the same."""
    # What no longer runs is held by nobody, so nobody leaves it out.
    left_out = ["left_out = NULL"] if "state" in names else []
    assignments = ", ".join([f"{name} = ?" for name in names] + left_out)
    return f"UPDATE job SET {assignments} WHERE id = ? AND fence = ?"


#: Nobody has settled the attempt, nor asked it to stop.
_IS_RUNNING = " AND state = 'running' AND stop IS NULL"


class Jobs:
    """The table of jobs. It also notes what those who wait have to hear after the commit."""

    def __init__(self, db: Connection, now: datetime) -> None:
        self.db = db
        #: The instant of this transaction.
        self.now = now
        #: Jobs that are now finished or gone.
        self.ended: list[str] = []
        #: Jobs that are gone, whose files can go now.
        self.gone: list[str] = []
        #: The earliest instant at which one of the jobs that now wait for their time falls due.
        self.earliest: datetime | None = None
        self._tally: int | None = None
        self._more_pending = 0

    def load(self, job_id: str) -> JobRecord | None:
        return self._first(SELECT + "WHERE id = ?", (job_id,))

    def holder(self, unique_key: str, besides: str = "") -> JobRecord | None:
        """Return the job that holds *unique_key*: the first of the unfinished, or the one to keep
        it longest.

        :param besides: the id of a job that is not asked for.
        """
        now = to_micros(self.now)
        for condition, values in (
            (UNFINISHED_WITH_KEY, (unique_key,)),
            (LAST_TO_FREE_KEY, (unique_key, now)),
        ):
            for record in self.select(condition, values):
                if record.id != besides and holds_key(record, self.now):
                    return record
        return None

    def select(self, condition: str, values: Sequence[Any]) -> list[JobRecord]:
        """Return the jobs that match *condition*, which is SQL and never holds a value."""
        return [to_record(row) for row in self.db.all(SELECT + condition, values)]

    @property
    def pending(self) -> int:
        """How many jobs wait."""
        if self._tally is None:
            ((pending,),) = self.db.all(_TALLY)
            self._tally = int(pending)
        return self._tally + self._more_pending

    def recount(self) -> None:
        """Count the jobs that wait: other hands than ours may have put some in, or taken some."""
        ((number,),) = self.db.all(COUNT_PENDING)
        self._more_pending += number - self.pending

    def close(self) -> None:
        """Write what is kept of the transaction as a whole, at its end."""
        if self._more_pending:
            self.db.execute(_ADD_TO_TALLY, (self._more_pending,))

    def next_due(self) -> datetime | None:
        """Return when the next of the jobs that wait for their time falls due."""
        ((micros,),) = self.db.all(_NEXT_DUE)
        return None if micros is None else from_micros(micros)

    def insert(self, row: NewRow) -> bool:
        """Store the record of *row*, unless its id is there."""
        if self.db.execute(_insert(row.names), row.values) != 1:
            return False
        self._more_pending += row.record.state in PENDING
        self._remember(row.record)
        return True

    def save(self, before: JobRecord, after: JobRecord) -> JobRecord:
        """Write *after* over *before*, as it was read in this transaction; return *after*."""
        if not self._update(before, after, ""):
            raise AssertionError(f"Job {before.id} changed within a transaction.")
        return after

    def save_settled(self, before: JobRecord, after: JobRecord) -> bool:
        """Write *after* over *before*, as it was claimed, unless anything happened to it since."""
        return self._update(before, after, _IS_RUNNING)

    def discard(self, record: JobRecord) -> None:
        """Delete a job that may still wait."""
        self._more_pending -= record.state in PENDING
        self.delete([record.id])

    def delete(self, job_ids: Iterable[str]) -> None:
        """Delete finished jobs, and all that belongs to them."""
        for job_id in job_ids:
            self.db.execute("DELETE FROM log WHERE job = ?", (job_id,))
            self.db.execute("DELETE FROM job WHERE id = ?", (job_id,))
            self.ended.append(job_id)
            self.gone.append(job_id)

    def _update(self, before: JobRecord, after: JobRecord, condition: str) -> bool:
        names, values = changes(before, after)
        statement = _update(names) + condition
        if names and self.db.execute(statement, (*values, before.id, before.fence)) != 1:
            return False
        self._more_pending += (after.state in PENDING) - (before.state in PENDING)
        self._remember(after)
        return True

    def _first(self, statement: str, values: Sequence[Any]) -> JobRecord | None:
        row = self.db.one(statement, values)
        return None if row is None else to_record(row)

    def _remember(self, record: JobRecord) -> None:
        if record.state in FINISHED:
            self.ended.append(record.id)
        elif record.state is JobState.SCHEDULED:
            self.earliest = min(record.run_at, self.earliest or record.run_at)
