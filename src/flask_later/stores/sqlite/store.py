"""The store itself: each method is one transaction that applies the rules of ``core/states``."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from flask_later.core.clock import Clock
from flask_later.core.exchange import Claim, Handover, Note, Outcome, Want
from flask_later.core.files import JobFiles
from flask_later.core.job import (
    Command,
    Glance,
    Hint,
    JobRecord,
    JobState,
    LogLine,
    StopReason,
    hints_to,
)
from flask_later.core.states import released
from flask_later.core.store import (
    DEFAULT_LIMITS,
    EVERYTHING,
    MAX_PAGE,
    Added,
    Finding,
    JobFilter,
    Limits,
    Page,
    Pause,
    QueueCommand,
    QueueStats,
    Salvage,
    Store,
    Swept,
    WorkerRecord,
)
from flask_later.logs import Log
from flask_later.stores.columns import from_micros, to_micros
from flask_later.stores.files import Files
from flask_later.stores.large import LargeTexts, is_large
from flask_later.stores.seats import Seat
from flask_later.stores.upkeep import Outlook, outlook
from flask_later.stores.waiting import Waiting

from . import notes as news
from . import reads, sweeps
from .adding import Adding
from .allocation import Allocation
from .commands import carry_out
from .connection import Connection, Connections
from .direct import DirectClaim
from .exchanges import Exchanges
from .file_system import Room
from .jobs import HELD_BY, Held, Jobs, read_tally
from .peers import Peers
from .preparing import prepare
from .ready import ready
from .rows import to_row
from .wakeups import socket_prefix
from .workers import RESCUE_AFTER, Workers
from .writer import Writer

T = TypeVar("T")

_logger = Log(__name__)


class SQLiteStore(Store):
    """Keeps jobs in the SQLite file at *path*, which its processes share on one machine.

    :param patience: seconds to wait for another process' transaction, before StoreBusyError.
    :param power_safe: whether what is added survives a power cut, or the end of a process only.
    :param min_free: bytes that the disk has to keep free, or jobs are refused.
    :param files: the folder for large arguments and results; ``later-files`` beside the file.
    :param app: what names the code that uses it, to find other processes of it.
    """

    durable = True
    reach = "machine"
    rescue_after = RESCUE_AFTER
    identity = ""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        limits: Limits = DEFAULT_LIMITS,
        *,
        patience: float = 5.0,
        files: Path | None = None,
        power_safe: bool = True,
        min_free: int = 0,
        app: str = "",
    ) -> None:
        # Its lock and its WAL lie beside the file itself, by whatever name it is called.
        self._path = Path(os.path.realpath(path))
        self.place = str(self._path)
        self._clock = clock
        self._limits = limits
        self._patience = patience
        self._power_safe = power_safe
        self._room = Room(self._path.parent, min_free)
        self._folder = (files or self._path.with_name("later-files")).absolute()
        self._large = LargeTexts(self._files, self._known)
        self._connections = Connections(self._path, patience)
        self._writer = Writer(self._path, patience, self._jobs, self._tell, self._reopen)
        self._allocation = Allocation(self._path, self._writer)
        self._workers = Workers(self._path, clock)
        self._adding = Adding(limits)
        self._exchanges = Exchanges(self._workers)
        self._peers = Peers(self._path, self._connections, self._read, self._write, app)
        self._waiting = Waiting(clock, self._peers, self._find_ready)
        self._app = app
        self._sweeper = sweeps.Sweeper(
            self._read, self._write, self._workers, self._peers.wakeups, clock, limits
        )
        self._outlook = Outlook()

    # The process

    def open(self) -> None:
        self._prepare()
        self._waiting.open()
        self._outlook = Outlook()
        self._allocation.take()
        # Two processes on two files is a mistake that only a comparison of their logs shows.
        _logger.info(
            "jobs are kept in %s (%s, SQLite %s)", self._path, self.identity, sqlite3.sqlite_version
        )

    def close(self) -> None:
        self._waiting.close()
        self._peers.wakeups.close()
        self._writer.close()
        self._connections.close()

    def _files(self) -> Files:
        # By identity: another store in this folder, or at this path, has files of its own.
        return Files(self._folder / self.identity)

    @property
    def files(self) -> JobFiles:
        return self._files()

    def _known(self, job_ids: Collection[str]) -> Collection[str]:
        with self._read() as db:
            return reads.existing(db, job_ids)

    def _prepare(self) -> None:
        prepare(self._path, self._patience)
        self._workers.open()
        with self._read() as db:
            ((self.identity,),) = db.all("SELECT value FROM meta WHERE key = 'identity'")

    def _reopen(self) -> None:
        self._connections.abandon()
        self._prepare()
        self._peers.wakeups.forget()
        self._workers.register_again()

    def register(self, worker: WorkerRecord) -> None:
        self._write(lambda jobs: self._workers.register(jobs.db, worker))

    def retire(self, worker: str) -> Sequence[Hint]:
        def retire(jobs: Jobs) -> list[JobRecord]:
            held = jobs.select(HELD_BY, (worker,))
            self._workers.retire(jobs.db, worker)
            return [jobs.save(record, released(record, jobs.now)) for record in held]

        freed = self._write(retire)
        self._workers.forget(worker)
        return hints_to(self.identity, freed)

    def workers(self) -> Sequence[WorkerRecord]:
        with self._read() as db:
            return self._workers.alive(db)

    @contextmanager
    def _read(self) -> Generator[Connection]:
        with self._connections.get().read() as db:
            yield db

    def _write(
        self,
        operation: Callable[[Jobs], T],
        *,
        full: bool = False,
        patience: float | None = None,
    ) -> T:
        """One transaction, shared with other threads; it wakes those who wait for what it brought.

        What workers write is not synced to disk at once (*full*): after a power cut the last jobs
        they settled run again, which no store can rule out anyway.
        """
        full = full and self._power_safe
        return self._writer.write(operation, full=full, patience=patience)

    def _jobs(self, db: Connection) -> Jobs:
        tally = read_tally(db)
        self._peers.wakeups.read(db, tally)
        return Jobs(db, self._clock.now(), tally)

    def _tell(self, jobs: Jobs) -> None:
        earlier = jobs.earliest is not None and jobs.earliest < self._outlook.next_due
        self._waiting.tell(jobs.ended, earlier=earlier)
        self._large.forget(jobs.gone)

    # Adding

    def add(self, records: Sequence[JobRecord]) -> Sequence[Added]:
        self._room.require(self._path)
        if not any(map(is_large, records)):
            return self._large.fetched_added(records, self._add_all(records))
        with self._large.put_aside(records) as lighter:
            added = self._add_all(lighter)
        return self._large.fetched_added(records, added)

    def _add_all(self, records: Sequence[JobRecord]) -> Sequence[Added]:
        rows = [to_row(record) for record in records]
        queues = {record.queue for record in records if record.state is JobState.QUEUED}
        mine: set[int] = set()

        def add(jobs: Jobs) -> list[Added]:
            added = direct.add(jobs, rows, mine)
            if not direct.has_claimed:
                # Whoever hears of them has to wait for this transaction, and finds them then.
                self._waiting.foretell(queues)
            return added

        with DirectClaim(self._adding, self._waiting, self._workers) as direct:
            added = self._write(add, full=True)
            direct.is_committed = True
        return added

    def tick(self, schedule: str, due_at: datetime, record: JobRecord) -> bool:
        self._room.require(self._path)
        due = to_micros(due_at)
        mine: set[int] = set()

        def tick(jobs: Jobs) -> bool:
            row = jobs.db.one("SELECT last_due FROM schedule WHERE name = ?", (schedule,))
            if row is not None and row[0] >= due:
                return bool(mine) and jobs.load(record.id) is not None
            self._adding.add(jobs, rows, mine)
            jobs.db.execute("INSERT OR REPLACE INTO schedule VALUES (?, ?)", (schedule, due))
            return True

        with self._large.put_aside([record]) as lighter:
            rows = [to_row(each) for each in lighter]
            return self._write(tick, full=True)

    def schedules(self) -> Mapping[str, datetime]:
        with self._read() as db:
            rows = db.all("SELECT name, last_due FROM schedule")
        return {name: from_micros(due) for name, due in rows}

    # Running

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        outcomes = self._large.put_results_aside(outcomes)
        done = self._write(lambda jobs: self._exchanges.exchange(jobs, worker, outcomes, want))
        if done.taken:
            self._waiting.looked(len(done.taken), want.limit)
        return self._large.fetched_handover(self._exchanges.conclude(worker, outcomes, done))

    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        self._exchanges.keep_only(holding)
        if not notes:
            # Most notes only ask. Asking disturbs nobody.
            with self._read() as db:
                jobs = Jobs(db, self._clock.now())
                has_to_beat = self._workers.needs_beat(db, worker)
                if not has_to_beat and not news.leaves_out(jobs, worker, holding):
                    return news.stop_reasons(jobs, holding)

        def keep(jobs: Jobs) -> Mapping[Claim, StopReason]:
            self._workers.beat(jobs.db, worker)
            news.release_left_out(jobs, worker, holding)
            for note in notes:
                news.keep(jobs, note, self._limits.max_log_lines)
            return news.stop_reasons(jobs, holding)

        return self._write(keep)

    # Commands

    def command(self, job_id: str, command: Command) -> JobRecord:
        record = self._write(
            lambda jobs: carry_out(jobs, job_id, command, self._adding, self._large), full=True
        )
        self._large.clean_up()
        return self._large.fetched(record)

    def queue(self, name: str, command: QueueCommand) -> None:
        pause = "INSERT OR IGNORE INTO paused VALUES (?)"
        resume = "DELETE FROM paused WHERE queue = ?"
        statement = pause if isinstance(command, Pause) else resume
        self._write(lambda jobs: jobs.db.execute(statement, (name,)), full=True)

    # Reading

    def get(self, ids: Iterable[str]) -> Mapping[str, JobRecord]:
        job_ids = list(islice(ids, MAX_PAGE))
        with self._read() as db:
            found = reads.get(db, job_ids)
        return {job_id: self._large.fetched(record) for job_id, record in found.items()}

    def glance(self, job_id: str) -> Glance | None:
        return reads.glance(self._connections.get(), job_id)

    def find(
        self, wanted: JobFilter = EVERYTHING, after: str | None = None, limit: int = 100
    ) -> Page:
        with self._read() as db:
            page = reads.find(db, wanted, after, limit)
        return page._replace(records=self._large.all_fetched(page.records))

    def log(self, job_id: str, after: int = 0, limit: int = 100) -> Sequence[LogLine]:
        with self._read() as db:
            return news.read_log(db, job_id, after, limit)

    def stats(self) -> Sequence[QueueStats]:
        with self._read() as db:
            return reads.stats(db)

    def examine(self) -> Iterator[Finding]:
        # As with salvage: only a command asks, so a web process does without.
        from .examination import Patient, examine

        prefix = socket_prefix(self._app)
        files = self._files() if self.identity else None
        workers = lambda: len(self.workers())  # noqa: E731
        return examine(Patient(self._path, self._read, files, workers, self._room, prefix))

    def salvage(self, target: Path, step: Callable[[int, int], None]) -> Salvage:
        from .salvage import salvage

        return salvage(self._path, target, self._patience, step)

    # Time

    def sweep(self, budget: int, known: Mapping[str, str]) -> Swept:
        self._workers.look_after_locks()
        self._writer.look_after()
        self._allocation.take_if_left()
        swept = self._sweeper.sweep(self.identity, budget, known)
        self._workers.tell_hung()
        self._outlook = outlook(swept)
        self._large.clean_up()
        self._large.sweep()
        return swept._replace(
            crashed=self._large.all_fetched(swept.crashed),
            expired=self._large.all_fetched(swept.expired),
        )

    def prune(self, states: Collection[JobState], before: datetime, limit: int) -> int:
        pruned = self._write(lambda jobs: sweeps.discard(jobs, states, before, limit))
        self._large.clean_up()
        return pruned

    # Waiting

    def wait(self, topics: Collection[str], timeout: float) -> None:
        self._waiting.wait(topics, timeout)

    def stand_by(self, worker: str, want: Want, timeout: float) -> Sequence[JobRecord]:
        seat: Seat[Held] = Seat(worker)
        self._waiting.wait(want.queues or (), timeout, seat)
        held = seat.take()
        if held is None:
            return ()
        self._exchanges.take(held)
        return [self._large.fetched(held.record)]

    def wake(self, topics: Collection[str]) -> None:
        self._waiting.wake(topics)

    def _find_ready(self, topics: Collection[str]) -> list[str]:
        """Return those of *topics* that have something, and for ANY all queues that do."""
        with self._read() as db:
            return ready(Jobs(db, self._clock.now()), topics, self._outlook)
