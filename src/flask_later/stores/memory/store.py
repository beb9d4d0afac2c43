"""The store itself: each method is one step under one lock."""

from __future__ import annotations

import os
import secrets
import shutil
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from math import inf
from pathlib import Path
from tempfile import mkdtemp

from flask_later.core.clock import Clock
from flask_later.core.exchange import Claim, Handover, Note, Outcome, Want
from flask_later.core.files import JobFiles
from flask_later.core.job import (
    FINISHED,
    Annotate,
    Command,
    Discard,
    Hint,
    JobRecord,
    JobState,
    LogLine,
    Resume,
    Retry,
    StopReason,
    hints_to,
    is_id,
)
from flask_later.core.states import (
    commanded,
    released,
    settled_once,
)
from flask_later.core.store import (
    DEFAULT_LIMITS,
    EVERYTHING,
    MAX_PAGE,
    Added,
    JobFilter,
    Limits,
    Page,
    Pause,
    QueueCommand,
    QueueStats,
    Store,
    Swept,
    WorkerRecord,
)
from flask_later.errors import JobNotFoundError, UniqueKeyTakenError
from flask_later.stores.files import Files
from flask_later.stores.lock import PatientLock
from flask_later.stores.reading import row_of, stats_of, within_page
from flask_later.stores.settling import Settled
from flask_later.stores.waiters import Waiters

from .claims import hand_out
from .jobs import Jobs
from .notes import Notes
from .sweeps import Sweeper, discard

#: Finished records kept at most, whatever the limits say: memory is not a place for history.
_MAX_FINISHED = 10_000


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
        self._clock = clock
        self._limits = replace(limits, max_finished=min(limits.max_finished, _MAX_FINISHED))
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self.identity = f"memory-{secrets.token_hex(8)}"
        self._lock = PatientLock()
        self._waiters = Waiters(self._lock, self._clock, self._has_something)
        self._jobs = Jobs(self._clock, self._limits, self._waiters, self._forget)
        self._notes = Notes(self._jobs, self._limits.max_log_lines)
        self._sweeper = Sweeper(self._jobs, self._limits.keep)
        self._workers: dict[str, WorkerRecord] = {}
        self._last_due: dict[str, datetime] = {}
        self._files: Files | None = None

    # The process

    def open(self) -> None:
        """Have nothing in the child of a fork: what lies there is its parent's to run, and may be
        locked by a thread that the child does not have."""
        if self._pid != os.getpid():
            self._start_afresh()

    def close(self) -> None:
        """Keep the jobs: a store that is closed and opened again still has them."""
        self.wake(())

    @property
    def files(self) -> JobFiles:
        """Files are none for the memory: they are in a folder that goes with the process."""
        with self._lock:
            if self._files is None:
                folder = Path(mkdtemp(prefix="flask-later-"))
                weakref.finalize(self, _remove, folder, os.getpid())
                self._files = Files(folder, sync=False)
            return self._files

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
            self._notes.forget_worker(worker)
            rows = self._jobs.rows.running(worker)
            for row in rows:
                self._jobs.put(row, released(row.record, now))
            return hints_to(self.identity, (row.record for row in rows))

    # Adding

    def add(self, records: Sequence[JobRecord]) -> Sequence[Added]:
        now = self._clock.now()
        with self._lock:
            return self._jobs.add(records, now)

    def tick(self, schedule: str, due_at: datetime, record: JobRecord) -> bool:
        now = self._clock.now()
        with self._lock:
            last = self._last_due.get(schedule)
            if last is not None and last >= due_at:
                return False
            self._jobs.add([record], now)
            self._last_due[schedule] = due_at
            return True

    def schedules(self) -> Mapping[str, datetime]:
        with self._lock:
            return dict(self._last_due)

    # Running

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        now = self._clock.now()
        settled = Settled()
        with self._lock:
            for outcome in outcomes:
                settled.add(outcome, self._settle(outcome, now))
            taken, over = hand_out(self._jobs, worker, want, now)
        return Handover(taken, settled.done, settled.stale, [*settled.cancelled, *over])

    def _settle(self, outcome: Outcome, now: datetime) -> JobRecord | None:
        """Return the record as it is then, or None for a stale outcome."""
        row = self._jobs.rows.get(outcome.claim.job_id)
        record = None if row is None else settled_once(row.record, outcome, now)
        if row is not None and record is not None and record is not row.record:
            self._jobs.put(row, record)
        return record

    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        now = self._clock.now()
        with self._lock:
            self._notes.release_left_out(worker, holding, now)
            for note in notes:
                self._notes.keep(note, now)
            return self._notes.stop_reasons(holding)

    # Commands

    def command(self, job_id: str, command: Command) -> JobRecord:
        now = self._clock.now()
        with self._lock:
            row = self._jobs.rows.get(job_id)
            if row is None:
                raise JobNotFoundError(job_id)
            record = commanded(row.record, command, now)
            if isinstance(command, Discard):
                self._jobs.drop(row)
                return record
            if isinstance(command, Retry) and record.unique_key is not None:
                holder = self._jobs.rows.holder(record.unique_key, now, besides=job_id)
                if holder is not None:
                    raise UniqueKeyTakenError(job_id, record.unique_key, holder.record.id)
            if isinstance(command, Annotate):
                self._jobs.require_places([record])
            self._jobs.put(row, record)
            return record

    def queue(self, name: str, command: QueueCommand) -> None:
        with self._lock:
            match command:
                case Pause():
                    self._jobs.paused.add(name)
                case Resume():
                    self._jobs.paused.discard(name)

    # Reading

    def get(self, ids: Iterable[str]) -> Mapping[str, JobRecord]:
        with self._lock:
            rows = [(job_id, self._jobs.rows.get(job_id)) for job_id in islice(ids, MAX_PAGE)]
        return {job_id: row.record for job_id, row in rows if row is not None}

    def find(
        self, wanted: JobFilter = EVERYTHING, after: str | None = None, limit: int = 100
    ) -> Page:
        limit = within_page(limit)
        before = inf if after is None else row_of(after)
        with self._lock:
            # A copy, newest first: reading must not hold up those who work.
            rows = self._jobs.rows.newest_first()
        rows = [row for row in rows if row.seq < before and _matches(row.record, wanted)]
        page = rows[:limit]
        return Page([row.record for row in page], str(page[-1].seq) if rows[limit:] else None)

    def log(self, job_id: str, after: int = 0, limit: int = 100) -> Sequence[LogLine]:
        with self._lock:
            lines = self._notes.log(job_id, after)
        return lines[: within_page(limit)]

    def stats(self) -> Sequence[QueueStats]:
        with self._lock:
            records = [row.record for row in self._jobs.rows]
            paused = set(self._jobs.paused)
        return stats_of(((each.queue, each.state, 1, each.run_at) for each in records), paused)

    # Time

    def sweep(self, budget: int, known: Mapping[str, str]) -> Swept:
        now = self._clock.now()
        with self._lock:
            return self._sweeper.sweep(self.identity, budget, known, now)

    def prune(self, states: Collection[JobState], before: datetime, limit: int) -> int:
        with self._lock:
            return discard(self._jobs, states, before, limit)

    # Waiting

    def wait(self, topics: Collection[str], timeout: float) -> None:
        with self._lock:
            if not any(map(self._has_something, topics or self._jobs.rows.queues)):
                self._waiters.wait(topics, timeout)

    def wake(self, topics: Collection[str]) -> None:
        if self._waiters.any_for(topics):
            with self._lock:
                self._waiters.wake(topics)

    def _has_something(self, topic: str) -> bool:
        if is_id(topic):
            row = self._jobs.rows.get(topic)
            return row is None or row.record.state in FINISHED
        return self._jobs.runnable(topic) is not None

    def _forget(self, job_id: str) -> None:
        """Drop what belongs to a job that is gone."""
        self._notes.forget_job(job_id)
        if self._files is not None:
            self._files.delete([job_id])


def _remove(folder: Path, pid: int) -> None:
    """Remove the folder of files, unless this is a child of the process that made it."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _matches(record: JobRecord, wanted: JobFilter) -> bool:
    return (
        (wanted.states is None or record.state in wanted.states)
        and (wanted.task is None or record.task == wanted.task)
        and (wanted.queue is None or record.queue == wanted.queue)
    )
