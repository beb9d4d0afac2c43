"""The jobs, as one transaction sees and changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from flask_later.core.job import FINISHED, PENDING, JobRecord, JobState
from flask_later.core.states import holds_key
from flask_later.stores.columns import FIELDS, GLANCED, from_micros, to_micros, to_record

from .connection import Connection
from .rows import NewRow, changes

# Composed of the names of columns, once; values are always bound.
SELECT = f"SELECT {', '.join(FIELDS)} FROM job "
GLANCE = f"SELECT {', '.join(GLANCED)} FROM job WHERE id = ?"
# However many finished jobs have the same key, neither reads those that have let go of it.
UNFINISHED_WITH_KEY = (
    "WHERE unique_key = ? AND state IN ('held', 'scheduled', 'queued', 'running', 'parked') "
    "ORDER BY seq"
)
LAST_TO_FREE_KEY = "WHERE unique_key = ? AND key_free_at > ? ORDER BY key_free_at DESC, seq DESC"
#: Those hold it as long as they are there, finished or not.
UNTIL_GONE_WITH_KEY = "WHERE unique_key = ? AND unique_until = 'gone' ORDER BY seq"
# Each count is of an index of its own, and reads no job.
COUNT_PENDING = """
    SELECT (SELECT count(*) FROM job WHERE state = 'queued')
        + (SELECT count(*) FROM job WHERE state = 'scheduled')
        + (SELECT count(*) FROM job WHERE state = 'held')
"""
# No more of them than matter, whoever has how many.
COUNT_OF_PRINCIPAL = """
    SELECT count(*) FROM (
        SELECT 1 FROM job WHERE principal = ? AND state IN ('held', 'scheduled', 'queued') LIMIT ?
    )
"""
COUNT_OTHERS = f"SELECT ifnull((SELECT max(seq) FROM job), 0) - ({COUNT_PENDING})"
_LAST = "SELECT ifnull(max(seq), 0) FROM job"
_TALLY = f"SELECT ({_LAST}) - others, listeners FROM tally"
_ADD_TO_OTHERS = "UPDATE tally SET others = others + ?"
_TELL_OF_LISTENERS = "UPDATE tally SET listeners = listeners + 1"
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
# What nearly every job goes through, for many of them at once and without a look for their ids.
# They write what the rules in core/states say: claimed(), and settled() for a success.
_HOLD = """
    UPDATE job SET state = 'running', fence = ?, attempts = ?, worker = ?, started_at = ?,
        progress = NULL, progress_at = NULL, parked_for = NULL, left_out = NULL
    WHERE seq = ?
"""
_SUCCEED = f"""
    UPDATE job SET state = 'succeeded', finished_at = ?, result = ?,
        error = NULL, worker = NULL, left_out = NULL
    WHERE seq = ? AND fence = ? {_IS_RUNNING}
"""


class Tally(NamedTuple):
    """What every transaction reads at its beginning."""

    #: How many jobs wait.
    pending: int
    #: Another number whenever those who listen are others.
    listeners: int


class Held(NamedTuple):
    """An attempt as it was claimed, and the number of its row."""

    record: JobRecord
    seq: int


class Jobs:
    """The table of jobs. It also notes what those who wait have to hear after the commit."""

    def __init__(self, db: Connection, now: datetime, tally: Tally | None = None) -> None:
        self.db = db
        #: The instant of this transaction.
        self.now = now
        self._tally = tally
        #: Jobs that are now finished or gone.
        self.ended: list[str] = []
        #: Jobs that are gone, whose files can go now.
        self.gone: list[str] = []
        #: The earliest instant at which one of the jobs that now wait for their time falls due.
        self.earliest: datetime | None = None
        #: The number of the row that was stored last.
        self.newest = 0
        self._more_pending = 0
        #: By how much the number of the last row has grown.
        self._more_numbers = 0

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
            (UNTIL_GONE_WITH_KEY, (unique_key,)),
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
            self._tally = read_tally(self.db)
        return self._tally.pending + self._more_pending

    def pending_of(self, principal: str, most: int) -> int:
        """Return how many jobs of *principal* wait, up to *most*."""
        ((number,),) = self.db.all(COUNT_OF_PRINCIPAL, (principal, most))
        return int(number)

    @property
    def miscounted(self) -> int:
        """By how many jobs more than known wait: other hands than ours may have put or taken some.

        All that wait are counted for it.
        """
        ((number,),) = self.db.all(COUNT_PENDING)
        return int(number) - self.pending

    def recount(self) -> None:
        """Put right how many jobs wait."""
        self._more_pending += self.miscounted

    def close(self) -> None:
        """Write what is kept of the transaction as a whole, at its end."""
        if self._more_numbers != self._more_pending:
            self.db.execute(_ADD_TO_OTHERS, (self._more_numbers - self._more_pending,))

    def next_due(self) -> datetime | None:
        """Return when the next of the jobs that wait for their time falls due."""
        ((micros,),) = self.db.all(_NEXT_DUE)
        return None if micros is None else from_micros(micros)

    def insert(self, row: NewRow) -> bool:
        """Store the record of *row*, unless its id is there."""
        number = self.db.insert(_insert(row.names), row.values)
        if number is None:
            return False
        self.newest = number
        self._more_numbers += 1
        self._more_pending += row.record.state in PENDING
        self._remember(row.record)
        return True

    def hold(self, queued: Sequence[tuple[int, int, int]], worker: str) -> None:
        """Write that *worker* has claimed these: row numbers, with fences and attempts so far."""
        if not queued:
            return
        now = to_micros(self.now)
        rows = [(fence + 1, attempts + 1, worker, now, seq) for seq, fence, attempts in queued]
        self.db.execute_many(_HOLD, rows)
        self._more_pending -= len(rows)

    def succeed(self, ended: Sequence[tuple[Held, str]]) -> bool:
        """Write that these attempts have succeeded, with their results.

        False if anything has happened to one of them since it was claimed. That one is left as it
        is.
        """
        now = to_micros(self.now)
        rows = [(now, result, seq, record.fence) for (record, seq), result in ended]
        changed = self.db.execute_many(_SUCCEED, rows)
        self.ended += [record.id for (record, _), _ in ended]
        return changed == len(rows)

    def save(self, before: JobRecord, after: JobRecord) -> JobRecord:
        """Write *after* over *before*, as it was read in this transaction; return *after*."""
        names, values = changes(before, after)
        if names and self.db.execute(_update(names), (*values, before.id, before.fence)) != 1:
            raise AssertionError(f"Job {before.id} changed within a transaction.")
        self._more_pending += (after.state in PENDING) - (before.state in PENDING)
        self._remember(after)
        return after

    def save_all(self, pairs: Sequence[tuple[JobRecord, JobRecord]]) -> list[JobRecord]:
        """As :meth:`save` for pairs of records."""
        return [self.save(before, after) for before, after in pairs]

    def discard(self, record: JobRecord) -> None:
        """Delete a job that may still wait."""
        self._more_pending -= record.state in PENDING
        self.delete([record.id])

    def delete(self, job_ids: Iterable[str]) -> None:
        """Delete finished jobs, and all that belongs to them."""
        last = self._last()
        for job_id in job_ids:
            self.db.execute("DELETE FROM log WHERE job = ?", (job_id,))
            self.db.execute("DELETE FROM job WHERE id = ?", (job_id,))
            self.ended.append(job_id)
            self.gone.append(job_id)
        self._more_numbers += self._last() - last

    def _last(self) -> int:
        ((last,),) = self.db.all(_LAST)
        return int(last)

    def _first(self, statement: str, values: Sequence[Any]) -> JobRecord | None:
        row = self.db.one(statement, values)
        return None if row is None else to_record(row)

    def _remember(self, record: JobRecord) -> None:
        if record.state in FINISHED:
            self.ended.append(record.id)
        elif record.state is JobState.SCHEDULED:
            self.earliest = min(record.run_at, self.earliest or record.run_at)


def read_tally(db: Connection) -> Tally:
    ((pending, listeners),) = db.all(_TALLY)
    return Tally(pending, listeners)


def tell_of_listeners(db: Connection) -> None:
    """Have others see that those who listen are others now."""
    db.execute(_TELL_OF_LISTENERS)
