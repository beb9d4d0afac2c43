"""The jobs, and whoever has to hear what becomes of them. All under the lock of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice, takewhile

from flask_later.core import places
from flask_later.core.clock import Clock
from flask_later.core.job import FINISHED, JobRecord, JobState
from flask_later.core.states import end_of
from flask_later.core.store import DUE, Added, Limits
from flask_later.errors import QueueFullError
from flask_later.stores.waiters import Waiters

from .rows import Place, Row, Rows

#: Finished records beyond the limit that may wait for the next clean-up.
_SURPLUS = 64


class Jobs:
    """Every change of a row goes through here.

    :param gone: is told the id of each job that is deleted.
    """

    def __init__(
        self, clock: Clock, limits: Limits, waiters: Waiters, gone: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._waiters = waiters
        self._gone = gone
        self.rows = Rows()
        self.paused: set[str] = set()

    def runnable(self, queue: str) -> Place | None:
        """Return the place of the job of *queue* that is handed out next, if any is."""
        return None if queue in self.paused else self.rows.best(queue)

    # Adding

    def add(self, records: Sequence[JobRecord], now: datetime) -> list[Added]:
        """Store *records*, all or none.

        :raises QueueFullError: if they would exceed a limit.
        """
        self._require_room(records, now)
        return [self._add(record, now) for record in records]

    def require_places(self, new: Iterable[JobRecord]) -> None:
        """Refuse *new* if too many would wait of one principal.

        :raises PrincipalQueueFullError: if so.
        """
        most = self._limits.max_pending_per_principal
        places.require_places(new, self.rows.pending_of, most)

    def _require_room(self, records: Sequence[JobRecord], now: datetime) -> None:
        pending = self.rows.pending
        if pending + len(records) > self._limits.max_pending:
            # The same job, or the same unique key, is stored once however often it comes.
            new = {r.unique_key or r.id for r in records if not self._existing(r, now)}
            if new and pending + len(new) > self._limits.max_pending:
                raise QueueFullError(pending, self._limits.max_pending, len(new))
        bound = [record for record in records if record.principal is not None]
        if bound:
            self.require_places(each for each in bound if not self._existing(each, now))

    def _existing(self, record: JobRecord, now: datetime) -> Row | None:
        row = self.rows.get(record.id)
        if row is None and record.unique_key is not None:
            return self.rows.holder(record.unique_key, now)
        return row

    def _add(self, record: JobRecord, now: datetime) -> Added:
        if (existing := self._existing(record, now)) is not None:
            return Added(existing.record, False)
        self._tell(self.rows.add(record))
        return Added(record, True)

    # Changing

    def put(self, row: Row, record: JobRecord) -> None:
        """Give *row* another record of the same job."""
        self.rows.put(row, record)
        self._tell(row)

    def _tell(self, row: Row) -> None:
        """Wake who waits for what has become of *row*."""
        state = row.record.state
        if state in FINISHED:
            self._waiters.wake_all(row.record.id)
            if self.rows.finished > self._limits.max_finished + _SURPLUS:
                self.drop_surplus(self._clock.now())
        elif state is JobState.SCHEDULED and self.rows.next_due() is row:
            self._waiters.wake_all(DUE)

    # Deleting

    def drop(self, row: Row) -> None:
        self.rows.drop(row)
        self._gone(row.record.id)

    def drop_all(self, rows: Iterable[Row]) -> int:
        """Delete *rows*; return how many they were."""
        dropped = [*rows]
        for row in dropped:
            self.drop(row)
        return len(dropped)

    def drop_surplus(self, now: datetime) -> None:
        """Delete the oldest of the finished jobs that are too many."""
        surplus = max(0, self.rows.finished - self._limits.max_finished)
        over = takewhile(lambda row: end_of(row.record) <= now, self.rows.ended())
        self.drop_all(islice(over, surplus))
