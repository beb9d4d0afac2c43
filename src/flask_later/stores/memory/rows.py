"""The rows of the memory store, and the indexes that find them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush

from flask_later.core.job import FINISHED, PENDING, WAITING, JobRecord, JobState
from flask_later.core.states import holds_key, is_expired

#: Void places that are not worth a clean-up.
_FEW = 64


class Row:
    """A job, the order in which it was stored, and its place in the index of its state."""

    __slots__ = ("expiring", "place", "record", "seq")

    def __init__(self, record: JobRecord, seq: int) -> None:
        self.record = record
        self.seq = seq
        self.place: Place | None = None
        #: Whether it is in the index of those that expire.
        self.expiring = False


#: An entry of a heap or a deque. It is void once its row has another place, so that no entry has
#: to be searched for.
Place = tuple[float, int, Row]


class Rows:
    """All rows: by id, by unique key, and by state in the order in which they are asked for."""

    def __init__(self) -> None:
        self._seq = 0
        self._by_id: dict[str, Row] = {}
        #: Those that may hold a unique key: unfinished ones, or with a period in which they do.
        self._by_key: dict[str, dict[str, Row]] = {}
        #: Queued ones, by queue and rank.
        self._ready: dict[str, list[Place]] = {}
        #: Scheduled ones, by the time when they may run.
        self._due: list[Place] = []
        #: Those that may have to be cancelled because nobody begins them, and others by now.
        self._expiring: list[tuple[datetime, int, Row]] = []
        #: How many wait: held, scheduled or queued.
        self.pending = 0
        #: Finished ones, by their end. In heaps those whose end counts from when their key is free.
        self._ended: dict[JobState, deque[Place]] = {state: deque() for state in FINISHED}
        self._reserved: dict[JobState, list[Place]] = {state: [] for state in FINISHED}
        self.finished = 0
        #: The others, of which there are few at a time.
        self._others: dict[JobState, dict[str, Row]] = {
            state: {} for state in (JobState.HELD, JobState.RUNNING, JobState.PARKED)
        }

    # Finding

    def get(self, job_id: str) -> Row | None:
        return self._by_id.get(job_id)

    def holder(self, unique_key: str, now: datetime, besides: str = "") -> Row | None:
        """Return the row that holds *unique_key*: the first of the unfinished, or the one to keep
        it longest.

        :param besides: the id of a job that is not asked for.
        """
        rows = self._by_key.get(unique_key, {})
        holders: list[Row] = []
        for job_id, row in [*rows.items()]:
            if holds_key(row.record, now):
                if job_id != besides:
                    holders.append(row)
            elif row.record.state in FINISHED:
                del rows[job_id]
        unfinished = [row for row in holders if row.record.state not in FINISHED]
        if unfinished:
            return min(unfinished, key=lambda row: row.seq)
        return max(holders, key=_end_and_order, default=None)

    @property
    def queues(self) -> Collection[str]:
        """The queues that have ever had a job to hand out."""
        return self._ready.keys()

    def running(self, worker: str) -> list[Row]:
        """Return the rows that *worker* holds."""
        rows = self._others[JobState.RUNNING].values()
        return [row for row in rows if row.record.worker == worker]

    def parked(self) -> list[Row]:
        return [*self._others[JobState.PARKED].values()]

    def newest_first(self) -> list[Row]:
        return [*reversed(self._by_id.values())]

    def best(self, queue: str) -> Place | None:
        """Return the place of the queue's best job."""
        heap = self._ready.get(queue)
        return _top(heap) if heap else None

    def ready(self, queue: str) -> list[Row]:
        """Return all queued rows of *queue*, the best one first, the others in no order."""
        return [place[2] for place in self._ready.get(queue, ()) if place[2].place is place]

    def next_due(self) -> Row | None:
        """Return the scheduled row that may run first."""
        place = _top(self._due)
        return None if place is None else place[2]

    def next_expired(self, now: datetime) -> Row | None:
        """Return the waiting row that expired first; one that is returned has to be cancelled."""
        while self._expiring and self._expiring[0][0] <= now:
            row = heappop(self._expiring)[2]
            row.expiring = False
            if self._waits(row) and is_expired(row.record, now):
                return row
        return None

    def _waits(self, row: Row) -> bool:
        return row.record.state in WAITING and self._by_id.get(row.record.id) is row

    def oldest(self, state: JobState) -> Row | None:
        """Return the row in this final state that ended first, as :func:`end_of` counts."""
        ended = self._ended[state]
        while ended and ended[0][2].place is not ended[0]:
            ended.popleft()
        places = (ended[0] if ended else None, _top(self._reserved[state]))
        rows = (place[2] for place in places if place is not None)
        return min(rows, key=_end_and_order, default=None)

    def oldest_finished(self, states: Collection[JobState] = FINISHED) -> Row | None:
        """Return the row in one of these final states that ended first."""
        rows = filter(None, map(self.oldest, states))
        return min(rows, key=_end_and_order, default=None)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._by_id.values())

    # Changing

    def add(self, record: JobRecord) -> Row:
        self._seq += 1
        row = Row(record, self._seq)
        self._by_id[record.id] = row
        self._enter(row)
        return row

    def put(self, row: Row, record: JobRecord) -> None:
        """Give *row* another record of the same job."""
        self._leave(row)
        row.record = record
        self._enter(row)

    def drop(self, row: Row) -> None:
        self._leave(row)
        del self._by_id[row.record.id]

    def _enter(self, row: Row) -> None:
        record = row.record
        state = record.state
        if record.unique_key is not None and (state not in FINISHED or record.key_free_at):
            self._by_key.setdefault(record.unique_key, {})[record.id] = row
        if record.expires_at is not None and state in WAITING and not row.expiring:
            self._expire(row, record.expires_at)
        if state is JobState.QUEUED:
            self._push(row, record.rank, self._ready.setdefault(record.queue, []))
        elif state is JobState.SCHEDULED:
            self._push(row, record.run_at.timestamp(), self._due)
        elif state in FINISHED:
            self._end(row, state)
        else:
            self._others[state][record.id] = row
            if state is JobState.HELD:
                self.pending += 1

    def _leave(self, row: Row) -> None:
        record = row.record
        if record.unique_key is not None:
            self._leave_key(record.id, record.unique_key)
        if row.place is None:
            del self._others[record.state][record.id]
        row.place = None
        if record.state in PENDING:
            self.pending -= 1
        elif record.state in FINISHED:
            self.finished -= 1

    def _leave_key(self, job_id: str, unique_key: str) -> None:
        rows = self._by_key.get(unique_key, {})
        rows.pop(job_id, None)
        if not rows:
            self._by_key.pop(unique_key, None)

    def _expire(self, row: Row, expires_at: datetime) -> None:
        if len(self._expiring) > 2 * self.pending + _FEW:
            # Most of them have been worked off in time.
            for _, _, other in self._expiring:
                other.expiring = self._waits(other)
            self._expiring = [entry for entry in self._expiring if entry[2].expiring]
            heapify(self._expiring)
        row.expiring = True
        heappush(self._expiring, (expires_at, row.seq, row))

    def _push(self, row: Row, key: float, heap: list[Place]) -> None:
        self.pending += 1
        if len(heap) > 2 * self.pending + _FEW:
            # Cancelled jobs left void places behind, which nobody has come to take off the top.
            heap[:] = [place for place in heap if place[2].place is place]
            heapify(heap)
        row.place = (key, row.seq, row)
        heappush(heap, row.place)

    def _end(self, row: Row, state: JobState) -> None:
        self.finished += 1
        if row.record.key_free_at is not None:
            row.place = (end_of(row.record).timestamp(), row.seq, row)
            heappush(self._reserved[state], row.place)
            return
        ended = self._ended[state]
        if len(ended) > 2 * self.finished + _FEW:
            living = [place for place in ended if place[2].place is place]
            ended.clear()
            ended.extend(living)
        row.place = (0.0, row.seq, row)
        ended.append(row.place)


def _top(heap: list[Place]) -> Place | None:
    """Return the least place that is not void."""
    while heap and heap[0][2].place is not heap[0]:
        heappop(heap)
    return heap[0] if heap else None


def end_of(record: JobRecord) -> datetime:
    """Return when a finished job ended, or its key is free, if that is later."""
    ended = record.finished_at or record.created_at
    return ended if record.key_free_at is None else max(ended, record.key_free_at)


def _end_and_order(row: Row) -> tuple[datetime, int]:
    return end_of(row.record), row.seq
