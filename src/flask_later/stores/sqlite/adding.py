"""Storing new jobs: each once, and no more than may wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from flask_later.core import places
from flask_later.core.job import JobRecord
from flask_later.core.store import Added, Limits
from flask_later.errors import QueueFullError

from .jobs import Jobs
from .rows import NewRow

#: Seconds between two counts of what waits, while jobs are refused because it is too much.
_RECOUNT_EVERY = 10.0


class Adding:
    """What this process stores, as many jobs as may wait by *limits*."""

    def __init__(self, limits: Limits) -> None:
        self._max_pending = limits.max_pending
        self._max_per_principal = limits.max_pending_per_principal
        self._recounted_at = -_RECOUNT_EVERY

    def add(self, jobs: Jobs, rows: Sequence[NewRow], mine: set[int]) -> list[Added]:
        """Store *rows*; return what is there in their places.

        :param mine: the places of those that an earlier try of the same call has stored, if its
            commit went through although nobody could say so.
        :raises QueueFullError: before anything is written, so that nobody who shares the commit is
            held up.
        :raises PrincipalQueueFullError: likewise.
        """
        if jobs.pending + len(rows) > self._max_pending:
            self._require_room(jobs, [row.record for row in rows])
        bound = [row.record for row in rows if row.record.principal is not None]
        if bound:
            self.require_places(jobs, (each for each in bound if not _existing(jobs, each)))
        return [_add_one(jobs, place, row, mine) for place, row in enumerate(rows)]

    def require_places(self, jobs: Jobs, new: Iterable[JobRecord]) -> None:
        """Refuse *new* if more jobs of one principal would wait than may.

        :raises PrincipalQueueFullError: if so.
        """
        places.require_places(new, jobs.pending_of, self._max_per_principal)

    def _require_room(self, jobs: Jobs, records: Iterable[JobRecord]) -> None:
        if time.monotonic() - self._recounted_at > _RECOUNT_EVERY:
            self._recounted_at = time.monotonic()
            jobs.recount()
        # The same job, or the same unique key, is stored once however often it comes.
        new = {r.unique_key or r.id for r in records if not _existing(jobs, r)}
        if new and jobs.pending + len(new) > self._max_pending:
            raise QueueFullError(jobs.pending, self._max_pending, len(new))


def _add_one(jobs: Jobs, place: int, row: NewRow, mine: set[int]) -> Added:
    record = row.record
    existing = None if record.unique_key is None else _existing(jobs, record)
    if existing is None and not jobs.insert(row):
        existing = jobs.load(record.id)
    if existing is None:
        mine.add(place)
        return Added(record, True)
    return Added(existing, place in mine and existing.id == record.id)


def _existing(jobs: Jobs, record: JobRecord) -> JobRecord | None:
    existing = jobs.load(record.id)
    if existing is None and record.unique_key is not None:
        existing = jobs.holder(record.unique_key)
    return existing
