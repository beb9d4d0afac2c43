"""Storing new jobs: each id and each unique key once, and no more than may wait.

The locks are taken first, in their order, and the row of the tally last, so that no two
transactions wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from zlib import crc32

from sqlalchemy import Connection, bindparam, select

from flask_later.core.job import JobRecord
from flask_later.core.places import takes_place
from flask_later.core.states import holds_key
from flask_later.core.store import Added, Limits
from flask_later.errors import QueueFullError

from . import at_once, tally
from .jobs import Jobs
from .places import Places
from .tables import LOCK_ROWS, lock

#: The lock of the limit. The others are those of the unique keys, by what is made of their texts.
_LIMIT = 0
_LOCK = (
    select(lock.c.id)
    .where(lock.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(lock.c.id)
    .with_for_update()
)
#: Seconds between two counts of what waits, while jobs are refused because it is too much.
_RECOUNT_EVERY = 10.0


def hold_keys(db: Connection, unique_keys: Collection[str], *, limit: bool = False) -> None:
    """Let nobody else look who holds one of *unique_keys* before the end of the transaction."""
    rows = {
        1 + crc32(key.encode("utf-8", "surrogatepass")) % (LOCK_ROWS - 1) for key in unique_keys
    }
    if limit:
        rows.add(_LIMIT)
    if rows:
        db.execute(_LOCK, {"ids": sorted(rows)})


class Adding:
    """Adds, as many as may wait by *limits*."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limit = limits.max_pending
        self._places = Places(limits.max_pending_per_principal)
        # Those that add at the same time below this are not seen by each other.
        self._near = limit - max(limit // 10, 1000)
        self._recounted_at = -_RECOUNT_EVERY

    def add_at_once(self, jobs: Jobs, records: Sequence[JobRecord]) -> list[Added] | None:
        """As :meth:`add`, in one statement; None where that would not do."""
        (record, *others) = records
        if others or record.unique_key is not None or takes_place(record):
            return None
        return [Added(record, True)] if at_once.add(jobs, record, self._near) else None

    def add(self, jobs: Jobs, records: Sequence[JobRecord], *, last: bool = True) -> list[Added]:
        """Store *records*; return the answer for each.

        :param last: whether the transaction ends with this. Otherwise it is the caller's, and no
            lock that all may want is held in it.
        :raises QueueFullError: if they are too many; then nothing has been written.
        :raises PrincipalQueueFullError: likewise, of one principal.
        """
        keys = {record.unique_key for record in records if record.unique_key is not None}
        number = tally.pending(jobs.db)
        is_near = number + len(records) > self._near
        locks = self._places.locks(jobs, records)
        hold_keys(jobs.db, {*keys, *locks}, limit=is_near and last)
        look = jobs.is_repeated or is_near or not last or bool(locks)
        found = self._find(jobs, records, keys, all_ids=look)
        if is_near:
            self._require_room(jobs, found.new, exact=last)
        if locks:
            self._places.require(jobs, found.new)
        jobs.insert(found.new)
        return found.answers

    def annotate(self, jobs: Jobs, record: JobRecord) -> None:
        """Require a place for a job that is to become one of a principal.

        No lock is held for that: two at the same moment may both get the last one.

        :raises PrincipalQueueFullError: if there is none.
        """
        self._places.require(jobs, [record])

    def _find(
        self, jobs: Jobs, records: Sequence[JobRecord], keys: Collection[str], *, all_ids: bool
    ) -> _Found:
        # An id that is there makes the insert fail, and then all is done again with a look first.
        # Those that are unique are looked for anyway: their holder may be themselves.
        ids = [each.id for each in records if all_ids or each.unique_key is not None]
        found = _Found(jobs.now, jobs.existing(ids), jobs.holders(keys))
        for record in records:
            found.answer(record)
        return found

    def _require_room(self, jobs: Jobs, new: Sequence[JobRecord], *, exact: bool) -> None:
        number = tally.pending(jobs.db)
        if not new or number + len(new) <= self._limit:
            return
        if exact and time.monotonic() - self._recounted_at > _RECOUNT_EVERY:
            self._recounted_at = time.monotonic()
            missing = tally.off_by(jobs.db)
            jobs.more_pending += missing
            number += missing
        if number + len(new) > self._limit:
            raise QueueFullError(number, self._limit, len(new))


class _Found:
    """What is there of the jobs to be added, and so what is new."""

    def __init__(
        self, now: datetime, by_id: dict[str, JobRecord], by_key: dict[str, JobRecord]
    ) -> None:
        self._now = now
        self._by_id = by_id
        self._by_key = by_key
        self.new: list[JobRecord] = []
        self.answers: list[Added] = []

    def answer(self, record: JobRecord) -> None:
        existing = self._by_id.get(record.id)
        if existing is None and record.unique_key is not None:
            existing = self._by_key.get(record.unique_key)
        if existing is not None:
            self.answers.append(Added(existing, False))
            return
        self._by_id[record.id] = record
        if record.unique_key is not None and holds_key(record, self._now):
            self._by_key[record.unique_key] = record
        self.new.append(record)
        self.answers.append(Added(record, True))
