"""Storing a job as already claimed, by a thread of this process that has nothing to do."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from flask_later.core.job import JobRecord, JobState
from flask_later.core.states import claimed, is_expired
from flask_later.core.store import Added
from flask_later.stores.seats import Seat
from flask_later.stores.waiting import Waiting

from .adding import Adding
from .connection import Connection
from .jobs import Held, Jobs
from .rows import NewRow, to_row
from .workers import Workers

# Of the whole store, not of the queues of one worker: it is for idle systems, and has to be cheap.
_IS_HELD_UP = """
    SELECT EXISTS (SELECT 1 FROM job WHERE state = 'queued') OR EXISTS (SELECT 1 FROM paused)
"""


class DirectClaim:
    """The claim that one call of ``add`` makes for a thread that stands by, if there is one.

    The thread is woken before the commit. It waits for what comes of it until this is left.
    """

    def __init__(self, adding: Adding, waiting: Waiting, workers: Workers) -> None:
        self._adding = adding
        self._waiting = waiting
        self._workers = workers
        self._seat: Seat[Held] | None = None
        self._held: Held | None = None
        #: Whether the transaction was committed.
        self.is_committed = False

    def __enter__(self) -> DirectClaim:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._seat is not None:
            self._seat.give(self._held if self.is_committed else None)

    @property
    def has_claimed(self) -> bool:
        """Whether the transaction has, so that nobody else need hear of the job."""
        return self._held is not None

    def add(self, jobs: Jobs, rows: Sequence[NewRow], mine: set[int]) -> list[Added]:
        """As :meth:`Adding.add`; a single job is claimed if nothing precedes it.

        May be repeated after a rollback.
        """
        self._held = None
        if len(rows) != 1:
            return self._adding.add(jobs, rows, mine)
        row = self._claimed(jobs, rows[0])
        (added,) = self._adding.add(jobs, [row], mine)
        # What an earlier try has stored is not looked at: another thread may have got it since.
        if row is rows[0] or added.record is not row.record:
            return [added]
        self._held = Held(row.record, jobs.newest)
        return [added._replace(claimed=True)]

    def _claimed(self, jobs: Jobs, row: NewRow) -> NewRow:
        """Return what to store for *row*: the same, if nobody can have it at once."""
        record = row.record
        if not self._may_run(jobs, record):
            return row
        self._seat = self._seat or self._waiting.reserve(record.queue)
        if self._seat is None:
            return row
        self._workers.glance(jobs.db, self._seat.worker)
        return to_row(claimed(record, self._seat.worker, jobs.now))

    def _may_run(self, jobs: Jobs, record: JobRecord) -> bool:
        return (
            record.state is JobState.QUEUED
            and self._waiting.is_awaited(record.queue)
            and not is_expired(record, jobs.now)
            and not _is_held_up(jobs.db)
        )


def _is_held_up(db: Connection) -> bool:
    """Whether anything waits to be claimed, or a queue is paused."""
    ((held_up,),) = db.all(_IS_HELD_UP)
    return bool(held_up)
