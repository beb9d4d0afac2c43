"""The jobs, as one transaction sees and changes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Update,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)

from flask_later.core.job import FINISHED, PENDING, JobRecord, JobState
from flask_later.core.states import holds_key
from flask_later.stores.columns import FIELDS, from_micros, to_record

from . import tally
from .rows import changes, to_row
from .tables import file, job, log, state_is

#: All that a record is made of, and its place among those that were stored.
COLUMNS = (*(job.c[name] for name in FIELDS), job.c.seq)
SELECT = select(*COLUMNS)
_BY_ID = SELECT.where(job.c.id == bindparam("id"))
_BY_ID_LOCKED = _BY_ID.with_for_update()
_BY_IDS = SELECT.where(job.c.id.in_(bindparam("ids", expanding=True)))
_BY_KEYS = SELECT.where(job.c.unique_key.in_(bindparam("keys", expanding=True))).order_by(job.c.seq)
_NEXT_DUE = (
    select(job.c.turn_at)
    .where(state_is(JobState.SCHEDULED), job.c.turn_at.is_not(None))
    .order_by(job.c.turn_at)
    .limit(1)
)
#: What may need a sweep soon, of which nobody says when.
_UNREST = select(
    or_(
        exists().where(state_is(JobState.QUEUED)),
        exists().where(job.c.worker.is_not(None)),
        exists().where(job.c.expiring_at.is_not(None)),
    )
)
_INSERT = insert(job)
_DELETE_LOGS = delete(log).where(log.c.job.in_(bindparam("ids", expanding=True)))
_DELETE_FILES = delete(file).where(file.c.job.in_(bindparam("ids", expanding=True)))
_DELETE = delete(job).where(job.c.id.in_(bindparam("ids", expanding=True)))


@cache
def _update(names: tuple[str, ...], *, only_running: bool) -> Update:
    """Return the statement that changes those columns of a job, if its fence is still the same."""
    statement = (
        update(job)
        .where(job.c.id == bindparam("the_id"), job.c.fence == bindparam("the_fence"))
        .values({name: bindparam(name) for name in names})
    )
    if only_running:
        # Nobody has settled the attempt, nor asked it to stop.
        statement = statement.where(state_is(JobState.RUNNING), job.c.stop.is_(None))
    return statement


class Jobs:
    """The table of jobs. It also notes what those who wait have to hear after the commit.

    :param is_repeated: whether all of this may have been done by a try before.
    """

    def __init__(self, db: Connection, now: datetime, *, is_repeated: bool = False) -> None:
        self.db = db
        #: The instant of this transaction.
        self.now = now
        self.is_repeated = is_repeated
        #: Jobs that are now finished or gone.
        self.ended: list[str] = []
        #: The earliest instant at which one of the jobs that now wait for their time falls due.
        self.earliest: datetime | None = None
        self.more_pending = 0

    # Reading

    def load(self, job_id: str, *, locked: bool = False) -> JobRecord | None:
        """Return the job; *locked*: nobody else changes it before the end of the transaction."""
        statement = _BY_ID_LOCKED if locked else _BY_ID
        row = self.db.execute(statement, {"id": job_id}).first()
        return None if row is None else to_record(row)

    def existing(self, job_ids: Collection[str]) -> dict[str, JobRecord]:
        """Return those of *job_ids* that exist."""
        rows = self.db.execute(_BY_IDS, {"ids": [*job_ids]}) if job_ids else ()
        return {record.id: record for record in map(to_record, rows)}

    def select(
        self, statement: Select[Any], values: Mapping[str, Any] | None = None
    ) -> list[JobRecord]:
        """Return the jobs of *statement*, which selects :data:`COLUMNS`."""
        return [to_record(row) for row in self.db.execute(statement, values)]

    def holders(self, unique_keys: Collection[str], besides: str = "") -> dict[str, JobRecord]:
        """Return which jobs hold *unique_keys*: of each the first of the unfinished, or the one to
        keep it longest.

        :param besides: the id of a job that is not asked for.
        """
        holders: dict[str, JobRecord] = {}
        if unique_keys:
            for record in self.select(_BY_KEYS, {"keys": [*unique_keys]}):
                key = record.unique_key
                if key is not None and record.id != besides and holds_key(record, self.now):
                    holders[key] = _firmer(holders.get(key), record)
        return holders

    def next_due(self) -> datetime | None:
        """Return when the next of the jobs that wait for their time falls due."""
        micros = self.db.execute(_NEXT_DUE).scalar()
        return None if micros is None else from_micros(micros)

    def is_calm(self) -> bool:
        """Whether nothing waits, runs or may expire."""
        return not self.db.execute(_UNREST).scalar_one()

    # Changing

    def insert(self, records: Sequence[JobRecord]) -> None:
        """Store *records*, none of whose ids is there."""
        if records:
            self.db.execute(_INSERT, [to_row(record) for record in records])
            self.more_pending += sum(record.state in PENDING for record in records)
            for record in records:
                self.remember(record)

    def save(self, before: JobRecord, after: JobRecord) -> JobRecord:
        """Write *after* over *before*, which this transaction has locked; return *after*."""
        if not self._save(before, after, only_running=False):
            raise AssertionError(f"Job {before.id} changed although it was locked.")
        return after

    def save_settled(self, before: JobRecord, after: JobRecord) -> bool:
        """Write *after* over *before*, as it was claimed, unless anything happened to it since."""
        return self._save(before, after, only_running=True)

    def save_all(self, pairs: Sequence[tuple[JobRecord, JobRecord]]) -> list[JobRecord]:
        """As :meth:`save` for pairs of records, those that change alike at once."""
        alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for before, after in pairs:
            values = changes(before, after)
            alike.setdefault((*values,), []).append(_addressed(before, values))
        for names, rows in alike.items():
            if names:
                self.db.execute(_update(names, only_running=False), rows)
        for before, after in pairs:
            self._note(before, after)
        return [after for _, after in pairs]

    def discard(self, record: JobRecord) -> None:
        """Delete a job that may still wait."""
        self.more_pending -= record.state in PENDING
        self.delete([record.id])

    def delete(self, job_ids: Iterable[str]) -> None:
        """Delete finished jobs, and all that belongs to them."""
        if gone := [*job_ids]:
            self.db.execute(_DELETE_LOGS, {"ids": gone})
            delete_files(self.db, gone)
            self.db.execute(_DELETE, {"ids": gone})
            self.ended += gone

    def close(self) -> None:
        """Write what is kept of the transaction as a whole, at its end."""
        if self.more_pending:
            tally.add(self.db, self.more_pending)

    def _save(self, before: JobRecord, after: JobRecord, *, only_running: bool) -> bool:
        values = changes(before, after)
        if values:
            statement = _update((*values,), only_running=only_running)
            if self.db.execute(statement, _addressed(before, values)).rowcount != 1:
                return False
        self._note(before, after)
        return True

    def _note(self, before: JobRecord, after: JobRecord) -> None:
        self.more_pending += (after.state in PENDING) - (before.state in PENDING)
        self.remember(after)

    def remember(self, record: JobRecord) -> None:
        """Note what others have to hear of a job that is written as *record*."""
        if record.state in FINISHED:
            self.ended.append(record.id)
        elif record.state is JobState.SCHEDULED:
            self.earliest = min(record.run_at, self.earliest or record.run_at)


def delete_files(db: Connection, job_ids: Collection[str]) -> None:
    """Delete the files of jobs, which need not be there."""
    db.execute(_DELETE_FILES, {"ids": [*job_ids]})


def _addressed(record: JobRecord, values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "the_id": record.id, "the_fence": record.fence}


def _firmer(first: JobRecord | None, second: JobRecord) -> JobRecord:
    """Return which of two that hold the same key is the one to answer with."""
    if first is None:
        return second
    if first.state not in FINISHED:
        return first
    if second.state not in FINISHED:
        return second
    return max(first, second, key=_free_at)


def _free_at(record: JobRecord) -> datetime:
    return record.key_free_at or record.created_at
