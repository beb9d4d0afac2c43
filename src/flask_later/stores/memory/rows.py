"""The rows of the memory store, and the indexes that find them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush, merge
from itertools import chain

from flask_later.core.job import FINISHED, PENDING, WAITING, JobRecord, JobState, UniqueUntil
from flask_later.core.states import end_of, holds_key, is_expired

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


class _Line:
    """The places of those that are ready in one queue. Nearly all come in their order."""

    __slots__ = ("_in_order", "_others")

    def __init__(self) -> None:
        self._in_order: deque[Place] = deque()
        #: A heap of those that have come behind a later one.
        self._others: list[Place] = []

    def __len__(self) -> int:
        return len(self._in_order) + len(self._others)

    def __iter__(self) -> Iterator[Place]:
        """Yield those that are not void, in no order."""
        return filter(_is_valid, chain(self._in_order, self._others))

    def push(self, place: Place) -> None:
        if not self._in_order or self._in_order[-1] < place:
            self._in_order.append(place)
        else:
            heappush(self._others, place)

    def first(self) -> Place | None:
        """Return the least place that is not void."""
        other = _top(self._others) if self._others else None
        while self._in_order:
            place = self._in_order[0]
            if place[2].place is place:
                return place if other is None else min(place, other)
            self._in_order.popleft()
        return other

    def tidy(self) -> None:
        """Throw away what is void."""
        places = sorted(self)
        self._in_order, self._others = deque(places), []


class Rows:
    """All rows: by id, by unique key, and by state in the order in which they are asked for."""

    def __init__(self) -> None:
        self._seq = 0
        self._by_id: dict[str, Row] = {}
        #: Those that may hold a unique key: unfinished ones, and those that may beyond their end.
        self._by_key: dict[str, dict[str, Row]] = {}
        #: Queued ones, by queue and rank.
        self._ready: dict[str, _Line] = {}
        #: Scheduled ones, by the time when they may run.
        self._due: list[Place] = []
        #: Those that may have to be cancelled because nobody begins them, and others by now.
        self._expiring: list[tuple[datetime, int, Row]] = []
        #: How many wait: held, scheduled or queued.
        self.pending = 0
        #: The same by principal, as far as they have one.
        self._pending_of: Counter[str] = Counter()
        #: Finished ones by their end; in a heap if it counts from when their key is free.
        self._ended: deque[Place] = deque()
        self._reserved: list[Place] = []
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

    def pending_of(self, principal: str, most: int) -> int:
        """Return how many jobs of *principal* wait, up to *most*."""
        return min(self._pending_of[principal], most)

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
        line = self._ready.get(queue)
        return line.first() if line else None

    def ready(self, queue: str) -> list[Row]:
        """Return all queued rows of *queue*, in no order."""
        return [place[2] for place in self._ready.get(queue, ())]

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

    def ended(self) -> Iterator[Row]:
        """Yield the finished rows, the one that ended first first, as :func:`end_of` counts."""
        while self._ended and not _is_valid(self._ended[0]):
            self._ended.popleft()
        ended = (place[2] for place in self._ended if _is_valid(place))
        if not self._reserved:
            return ended
        reserved = (place[2] for place in sorted(self._reserved) if _is_valid(place))
        return merge(ended, reserved, key=_end_and_order)

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
        if record.principal is not None and state in PENDING:
            self._pending_of[record.principal] += 1
        if record.unique_key is not None and _may_hold_key(record):
            self._by_key.setdefault(record.unique_key, {})[record.id] = row
        if record.expires_at is not None and state in WAITING and not row.expiring:
            self._expire(row, record.expires_at)
        if state is JobState.QUEUED:
            self._queue(row, record)
        elif state is JobState.SCHEDULED:
            self._schedule(row, record)
        elif state in FINISHED:
            self._end(row, record)
        else:
            self._others[state][record.id] = row
            if state is JobState.HELD:
                self.pending += 1

    def _leave(self, row: Row) -> None:
        record = row.record
        state = record.state
        if record.principal is not None and state in PENDING:
            self._leave_place(record.principal)
        if record.unique_key is not None:
            self._leave_key(record.id, record.unique_key)
        if row.place is None:
            del self._others[state][record.id]
        row.place = None
        if state in PENDING:
            self.pending -= 1
        elif state in FINISHED:
            self.finished -= 1

    def _leave_place(self, principal: str) -> None:
        self._pending_of[principal] -= 1
        if not self._pending_of[principal]:
            del self._pending_of[principal]

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

    def _queue(self, row: Row, record: JobRecord) -> None:
        line = self._ready.get(record.queue)
        if line is None:
            line = self._ready[record.queue] = _Line()
        self.pending += 1
        if len(line) > 2 * self.pending + _FEW:
            # Cancelled jobs left void places behind, which nobody has come to take off the top.
            line.tidy()
        row.place = place = (record.rank, row.seq, row)
        line.push(place)

    def _schedule(self, row: Row, record: JobRecord) -> None:
        self.pending += 1
        if len(self._due) > 2 * self.pending + _FEW:
            self._due = [*filter(_is_valid, self._due)]
            heapify(self._due)
        row.place = (record.run_at.timestamp(), row.seq, row)
        heappush(self._due, row.place)

    def _end(self, row: Row, record: JobRecord) -> None:
        self.finished += 1
        if record.key_free_at is not None:
            row.place = (end_of(record).timestamp(), row.seq, row)
            heappush(self._reserved, row.place)
            return
        if len(self._ended) > 2 * self.finished + _FEW:
            self._ended = deque(filter(_is_valid, self._ended))
        row.place = place = (0.0, row.seq, row)
        self._ended.append(place)


def _may_hold_key(record: JobRecord) -> bool:
    """Whether the job may hold its key now, or later on, as it is."""
    kept = record.key_free_at is not None or record.unique_until is UniqueUntil.GONE
    return kept or record.state not in FINISHED


def _is_valid(place: Place) -> bool:
    return place[2].place is place


def _top(heap: list[Place]) -> Place | None:
    """Return the least place that is not void."""
    while heap and heap[0][2].place is not heap[0]:
        heappop(heap)
    return heap[0] if heap else None


def _end_and_order(row: Row) -> tuple[datetime, int]:
    return end_of(row.record), row.seq
