"""The store itself: each method is one step under one lock."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from math import inf

from flask_later.core.clock import Clock
from flask_later.core.job import (
    FINISHED,
    Command,
    Discard,
    Hint,
    JobRecord,
    JobState,
    LogLine,
    Resume,
    Retry,
    StopReason,
    is_id,
)
from flask_later.core.states import (
    claimed,
    commanded,
    expired,
    is_expired,
    is_settled,
    may_share,
    released,
    resumed,
    settled,
    was_cancelled,
)
from flask_later.core.store import (
    BEAT,
    DEFAULT_LIMITS,
    DUE,
    EVERYTHING,
    MAX_EXPIRED,
    MAX_PAGE,
    MAX_REHINTS,
    REHINT_AFTER,
    Added,
    Claim,
    Handover,
    JobFilter,
    Limits,
    Note,
    Outcome,
    Page,
    Pause,
    QueueCommand,
    QueueStats,
    Store,
    Swept,
    Want,
    WorkerRecord,
)
from flask_later.errors import JobNotFoundError, QueueFullError, UniqueKeyTakenError
from flask_later.stores.lock import PatientLock
from flask_later.stores.waiters import Waiters

from .rows import Place, Row, Rows, end_of

#: Finished records kept at most, whatever the limits say: memory is not a place for history.
_MAX_FINISHED = 10_000
#: Finished records beyond the limit that may wait for the next clean-up.
_SURPLUS = 64
_LONGEST_CURSOR = 20


class MemoryStore(Store):
    """Keeps jobs in dictionaries behind one lock.

    What one process stores no other can see, and nothing survives it: for tests, for development,
    and for work that may be lost.
    """

    durable = False
    reach = "process"
    rescue_after = inf
    place = "memory://"

    def __init__(self, clock: Clock, limits: Limits = DEFAULT_LIMITS) -> None:
        self.identity = f"memory-{secrets.token_hex(8)}"
        self._clock = clock
        self._limits = replace(limits, max_finished=min(limits.max_finished, _MAX_FINISHED))
        self._lock = PatientLock()
        self._waiters = Waiters(self._lock, clock, self._has_something)
        self._rows = Rows()
        self._workers: dict[str, WorkerRecord] = {}
        self._hinted_at: dict[str, datetime] = {}
        #: Since when a worker's beats have not named an attempt that it should hold.
        self._left_out: dict[str, dict[Claim, datetime]] = {}
        self._paused: set[str] = set()
        self._logs: dict[str, deque[LogLine]] = {}
        self._last_due: dict[str, datetime] = {}

    # The process

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Keep the jobs: a store that is closed and opened again still has them."""
        self.wake(())

    def register(self, worker: WorkerRecord) -> None:
        with self._lock:
            self._workers[worker.id] = worker

    def workers(self) -> Sequence[WorkerRecord]:
        with self._lock:
            return sorted(self._workers.values(), key=lambda worker: worker.started_at)

    def retire(self, worker: str) -> Sequence[Hint]:
        now = self._clock.now()
        with self._lock:
            self._workers.pop(worker, None)
            self._left_out.pop(worker, None)
            rows = self._rows.running(worker)
            for row in rows:
                self._put(row, released(row.record, now))
            return [self._hint(row) for row in rows if row.record.state is JobState.QUEUED]

    # Adding

    def add(self, records: Sequence[JobRecord]) -> Sequence[Added]:
        now = self._clock.now()
        with self._lock:
            self._require_room(records, now)
            return [self._add(record, now) for record in records]

    def tick(self, schedule: str, due_at: datetime, record: JobRecord) -> bool:
        now = self._clock.now()
        with self._lock:
            last = self._last_due.get(schedule)
            if last is not None and last >= due_at:
                return False
            self._require_room([record], now)
            self._add(record, now)
            self._last_due[schedule] = due_at
            return True

    def schedules(self) -> Mapping[str, datetime]:
        with self._lock:
            return dict(self._last_due)

    def _require_room(self, records: Sequence[JobRecord], now: datetime) -> None:
        pending = self._rows.pending
        if pending + len(records) > self._limits.max_pending:
            # The same job, or the same unique key, is stored once however often it comes.
            new = {r.unique_key or r.id for r in records if not self._existing(r, now)}
            if new and pending + len(new) > self._limits.max_pending:
                raise QueueFullError(pending, self._limits.max_pending, len(new))

    def _existing(self, record: JobRecord, now: datetime) -> Row | None:
        row = self._rows.get(record.id)
        if row is None and record.unique_key is not None:
            return self._rows.holder(record.unique_key, now)
        return row

    def _add(self, record: JobRecord, now: datetime) -> Added:
        if (existing := self._existing(record, now)) is not None:
            return Added(existing.record, False)
        self._tell(self._rows.add(record))
        return Added(record, True)

    # Running

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        now = self._clock.now()
        done: list[Claim] = []
        stale: list[Claim] = []
        cancelled: list[JobRecord] = []
        with self._lock:
            for outcome in outcomes:
                record = self._settle(outcome, now)
                (stale if record is None else done).append(outcome.claim)
                if record is not None and was_cancelled(record, outcome):
                    cancelled.append(record)
            taken = self._claim(worker, want, now, cancelled)
        return Handover(taken, done, stale, cancelled)

    def _settle(self, outcome: Outcome, now: datetime) -> JobRecord | None:
        """Return the record as it is then, or None for a stale outcome."""
        job_id, fence = outcome.claim
        row = self._rows.get(job_id)
        if row is None or row.record.fence != fence:
            return None
        if not is_settled(row.record, fence):
            self._put(row, settled(row.record, outcome, now))
        return row.record

    def _claim(
        self, worker: str, want: Want, now: datetime, cancelled: list[JobRecord]
    ) -> list[JobRecord]:
        """Return what *worker* gets. Expired ones on the way there go to *cancelled*."""
        taken: list[JobRecord] = []
        left = MAX_EXPIRED
        while len(taken) < want.limit and (place := self._best(want)):
            row = place[2]
            if is_expired(row.record, now):
                if left == 0:
                    break
                left -= 1
                self._put(row, expired(row.record, now))
                cancelled.append(row.record)
            elif taken and not may_share(taken[0], row.record):
                break
            else:
                self._rows.put(row, claimed(row.record, worker, now))
                taken.append(row.record)
        return taken

    def _best(self, want: Want) -> Place | None:
        if want.prefer is not None and (place := self._runnable(want.prefer.queue)):
            return place
        if want.queues is not None:
            return next(filter(None, map(self._runnable, want.queues)), None)
        return min(filter(None, map(self._runnable, self._rows.queues)), default=None)

    def _runnable(self, queue: str) -> Place | None:
        """Return the place of the job of *queue* that is handed out next, if any is."""
        return None if queue in self._paused else self._rows.best(queue)

    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        now = self._clock.now()
        with self._lock:
            self._release_left_out(worker, holding, now)
            for note in notes:
                self._note(note, now)
            stops = {claim: self._stop_reason(claim) for claim in holding}
        return {claim: reason for claim, reason in stops.items() if reason is not None}

    def _release_left_out(self, worker: str, holding: Collection[Claim], now: datetime) -> None:
        left_out = {
            claim: row
            for row in self._rows.running(worker)
            if (claim := Claim(row.record.id, row.record.fence)) not in holding
        }
        before = self._left_out.get(worker, {})
        since = {claim: before.get(claim, now) for claim in left_out}
        for claim, first in since.items():
            if (now - first).total_seconds() >= BEAT:
                self._put(left_out[claim], released(left_out[claim].record, now))
        self._left_out[worker] = since

    def _note(self, note: Note, now: datetime) -> None:
        row = self._rows.get(note.claim.job_id)
        if row is None or row.record.fence != note.claim.fence:
            return
        if note.progress is not None:
            row.record = row.record._replace(progress=note.progress)
        if note.lines:
            log = self._logs.setdefault(row.record.id, deque(maxlen=self._limits.max_log_lines))
            for line in note.lines:
                log.append(LogLine(log[-1].id + 1 if log else 1, now, line))

    def _stop_reason(self, claim: Claim) -> StopReason | None:
        row = self._rows.get(claim.job_id)
        if row is None or row.record.fence != claim.fence:
            return StopReason.LOST
        return row.record.stop if row.record.state is JobState.RUNNING else StopReason.LOST

    # Commands

    def command(self, job_id: str, command: Command) -> JobRecord:
        now = self._clock.now()
        with self._lock:
            row = self._rows.get(job_id)
            if row is None:
                raise JobNotFoundError(job_id)
            record = commanded(row.record, command, now)
            if isinstance(command, Discard):
                self._drop(row)
                return record
            if isinstance(command, Retry) and record.unique_key is not None:
                holder = self._rows.holder(record.unique_key, now, besides=job_id)
                if holder is not None:
                    raise UniqueKeyTakenError(job_id, record.unique_key, holder.record.id)
            self._put(row, record)
            return record

    def queue(self, name: str, command: QueueCommand) -> None:
        with self._lock:
            match command:
                case Pause():
                    self._paused.add(name)
                case Resume():
                    self._paused.discard(name)

    # Reading

    def get(self, ids: Iterable[str]) -> Mapping[str, JobRecord]:
        with self._lock:
            rows = [(job_id, self._rows.get(job_id)) for job_id in islice(ids, MAX_PAGE)]
        return {job_id: row.record for job_id, row in rows if row is not None}

    def find(
        self, wanted: JobFilter = EVERYTHING, after: str | None = None, limit: int = 100
    ) -> Page:
        limit = max(1, min(limit, MAX_PAGE))
        before = inf if after is None else _seq_of(after)
        with self._lock:
            # A copy, newest first: reading must not hold up those who work.
            rows = self._rows.newest_first()
        rows = [row for row in rows if row.seq < before and _matches(row.record, wanted)]
        page = rows[:limit]
        return Page([row.record for row in page], str(page[-1].seq) if rows[limit:] else None)

    def log(self, job_id: str, after: int = 0, limit: int = 100) -> Sequence[LogLine]:
        with self._lock:
            lines = [line for line in self._logs.get(job_id, ()) if line.id > after]
        return lines[: max(1, min(limit, MAX_PAGE))]

    def stats(self) -> Sequence[QueueStats]:
        with self._lock:
            records = [row.record for row in self._rows]
            paused = set(self._paused)
        counts: defaultdict[str, Counter[JobState]] = defaultdict(Counter)
        oldest: dict[str, datetime] = {}
        for record in records:
            counts[record.queue][record.state] += 1
            if record.state is JobState.QUEUED:
                oldest[record.queue] = min(record.run_at, oldest.get(record.queue, record.run_at))
        return [
            QueueStats(name, name in paused, dict(counts[name]), oldest.get(name))
            for name in sorted({*counts, *paused})
        ]

    # Time

    def sweep(self, budget: int, known: Mapping[str, str]) -> Swept:
        now = self._clock.now()
        with self._lock:
            over = [*self._expire(now, budget)]
            # Before the others, so that what this sweep moves is not hinted at twice.
            rows = [row for queue in self._rows.queues for row in self._overdue(queue, now)]
            rows += [*self._stage(now, budget), *self._unpark(now, budget, known)]
            self._prune(now, budget)
            first = self._rows.next_due()
            next_due = None if first is None else first.record.run_at
            return Swept([self._hint(row) for row in rows], next_due, expired=over)

    def _expire(self, now: datetime, budget: int) -> Iterator[JobRecord]:
        for _ in range(budget):
            row = self._rows.next_expired(now)
            if row is None:
                return
            self._put(row, expired(row.record, now))
            yield row.record

    def _overdue(self, queue: str, now: datetime) -> list[Row]:
        """Return the runnable jobs of *queue* if their hints seem to be lost."""
        before = now - timedelta(seconds=REHINT_AFTER)
        hinted_at = self._hinted_at.get(queue, before)
        # One in the future: the system's clock was put back.
        if before < hinted_at <= now or self._runnable(queue) is None:
            return []
        rows = self._rows.ready(queue)
        if all(row.record.run_at > before for row in rows):
            return []
        self._hinted_at[queue] = now
        return rows[:MAX_REHINTS]

    def _stage(self, now: datetime, budget: int) -> Iterator[Row]:
        for _ in range(budget):
            row = self._rows.next_due()
            if row is None or row.record.run_at > now:
                return
            self._put(row, row.record._replace(state=JobState.QUEUED))
            yield row

    def _unpark(self, now: datetime, budget: int, known: Mapping[str, str]) -> list[Row]:
        fitting = [
            row
            for row in self._rows.parked()
            if known.get(row.record.task, row.record.parked_for) != row.record.parked_for
        ]
        for row in fitting[:budget]:
            self._put(row, resumed(row.record, now))
        return fitting[:budget]

    def _prune(self, now: datetime, budget: int) -> None:
        for state in FINISHED:
            for _ in range(budget):
                row = self._rows.oldest(state)
                if row is None or now - end_of(row.record) < self._limits.keep[state]:
                    break
                self._drop(row)
        self._drop_surplus(now)

    def prune(self, states: Collection[JobState], before: datetime, limit: int) -> int:
        wanted = FINISHED.intersection(states)
        with self._lock:
            for pruned in range(limit):
                row = self._rows.oldest_finished(wanted)
                if row is None or end_of(row.record) > before:
                    return pruned
                self._drop(row)
            return limit

    def _drop_surplus(self, now: datetime) -> None:
        surplus = self._rows.finished - self._limits.max_finished
        for _ in range(surplus):
            row = self._rows.oldest_finished()
            if row is None or end_of(row.record) > now:
                return
            self._drop(row)

    # Waiting

    def wait(self, topics: Collection[str], timeout: float) -> None:
        with self._lock:
            if not any(map(self._has_something, topics or self._rows.queues)):
                self._waiters.wait(topics, timeout)

    def wake(self, topics: Collection[str]) -> None:
        if self._waiters.any_for(topics):
            with self._lock:
                self._waiters.wake(topics)

    def _has_something(self, topic: str) -> bool:
        if is_id(topic):
            row = self._rows.get(topic)
            return row is None or row.record.state in FINISHED
        return self._runnable(topic) is not None

    # Every change of a row goes through here

    def _put(self, row: Row, record: JobRecord) -> None:
        self._rows.put(row, record)
        self._tell(row)

    def _tell(self, row: Row) -> None:
        """Wake who waits for what has become of *row*."""
        state = row.record.state
        if state in FINISHED:
            self._waiters.wake_all(row.record.id)
            if self._rows.finished > self._limits.max_finished + _SURPLUS:
                self._drop_surplus(self._clock.now())
        elif state is JobState.SCHEDULED and self._rows.next_due() is row:
            self._waiters.wake_all(DUE)

    def _drop(self, row: Row) -> None:
        self._rows.drop(row)
        self._logs.pop(row.record.id, None)

    def _hint(self, row: Row) -> Hint:
        return Hint(self.identity, row.record.queue, row.record.id, row.record.fence)


def _seq_of(cursor: str) -> int:
    """Return the place that a cursor names; one that is not ours names the end."""
    return int(cursor) if cursor.isdecimal() and len(cursor) < _LONGEST_CURSOR else 0


def _matches(record: JobRecord, wanted: JobFilter) -> bool:
    return (
        (wanted.states is None or record.state in wanted.states)
        and (wanted.task is None or record.task == wanted.task)
        and (wanted.queue is None or record.queue == wanted.queue)
    )
