"""The store itself: each method is one transaction that applies the rules of ``core/states``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice

from sqlalchemy import bindparam, insert, select, update

from flask_later.core.clock import Clock
from flask_later.core.exchange import Claim, Handover, Note, Outcome, Want
from flask_later.core.files import JobFiles
from flask_later.core.job import (
    FINISHED,
    Annotate,
    Command,
    Discard,
    Glance,
    Hint,
    JobRecord,
    JobState,
    LogLine,
    Retry,
    StopReason,
    hints_to,
    is_id,
)
from flask_later.core.states import commanded, released
from flask_later.core.store import (
    DEFAULT_LIMITS,
    DUE,
    EVERYTHING,
    LEASE,
    MAX_PAGE,
    Added,
    Finding,
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
from flask_later.logs import Log
from flask_later.stores.columns import to_micros
from flask_later.stores.peers import Peers
from flask_later.stores.settling import InHand
from flask_later.stores.upkeep import MAX_BATCH, Outlook, outlook
from flask_later.stores.waiters import asks_for_queues, those_ready
from flask_later.stores.waiting import Waiting

from . import at_once, reads, sweeps, workers
from . import notes as news
from .adding import Adding, hold_keys
from .address import parse, place_of
from .claims import hand_out, runnable_queues
from .clock import DatabaseClock
from .connections import Connections
from .examination import examine
from .files import FileTable
from .jobs import Jobs
from .peers import NotifiedPeers
from .preparing import prepare, server_of
from .settling import settle
from .tables import queue, schedule
from .transactions import Transactions
from .within import Guests
from .workers import Workers

_LAST_DUE = (
    select(schedule.c.last_due).where(schedule.c.name == bindparam("schedule")).with_for_update()
)
_FIRST_TICK = insert(schedule)
_TICK = (
    update(schedule)
    .where(schedule.c.name == bindparam("schedule"))
    .values(last_due=bindparam("last_due"))
)
_SET_PAUSED = (
    update(queue).where(queue.c.name == bindparam("queue")).values(paused=bindparam("paused"))
)
_KNOW_QUEUE = insert(queue)

_logger = Log(__name__)


class SQLStore(Store):
    """Keeps jobs in the database at *address*, which may be the app's own.

    :param connections: the most that this process has to it, besides one to listen.
    :param patience: seconds to wait for one of them.
    :raises InvalidSettingError: if *address* is none.
    :raises ImportError: if the driver for it is missing.
    """

    durable = True
    reach = "network"
    rescue_after = LEASE

    def __init__(
        self,
        address: str,
        clock: Clock,
        limits: Limits = DEFAULT_LIMITS,
        *,
        connections: int = 15,
        patience: float = 5.0,
    ) -> None:
        url = parse(address)
        self.place = place_of(url)
        self._clock = clock
        self._limits = limits
        self._connections = Connections(url, connections, patience)
        self._time = DatabaseClock(clock)
        self._transactions = Transactions(self._connections, self._time, self.place, self._tell)
        self._files = FileTable(self._transactions)
        self._workers = Workers(clock)
        self._adding = Adding(limits)
        self._guests = Guests(self._adding, self._time, self.place)
        self._in_hand: InHand[JobRecord] = InHand()
        self._sweeper = sweeps.Sweeper(self._transactions, clock, limits)
        self._waiting = Waiting(clock, self._peers(), self._find_ready)
        self._outlook = Outlook()

    def _peers(self) -> Peers:
        if self._connections.is_postgresql:
            return NotifiedPeers(self._connections, self._transactions, lambda: self.identity)
        return Peers()

    # The process

    def open(self) -> None:
        def prepared(jobs: Jobs) -> tuple[str, str]:
            return prepare(jobs.db, self.place), server_of(jobs.db)

        # What it cannot be opened with is closed at once: nobody closes what was never open.
        self.identity, server = self._transactions.write(prepared)
        self._connections.open()
        self._waiting.open()
        self._outlook = Outlook()
        # Two processes on two databases is a mistake that only a comparison of their logs shows.
        _logger.info("jobs are kept in %s (%s, %s)", self.place, self.identity, server)

    def close(self) -> None:
        self._waiting.close()
        self._connections.close()

    @property
    def files(self) -> JobFiles:
        return self._files

    def register(self, worker: WorkerRecord) -> None:
        self._transactions.write(lambda jobs: self._workers.register(jobs, worker))
        self._workers.glanced(worker.id)

    def retire(self, worker: str) -> Sequence[Hint]:
        def retire(jobs: Jobs) -> list[JobRecord]:
            held = self._workers.retire(jobs, worker)
            return jobs.save_all([(record, released(record, jobs.now)) for record in held])

        freed = self._transactions.write(retire)
        self._workers.forget(worker)
        return hints_to(self.identity, freed)

    def workers(self) -> Sequence[WorkerRecord]:
        return self._transactions.read(workers.alive)

    def _tell(self, jobs: Jobs) -> None:
        earlier = jobs.earliest is not None and jobs.earliest < self._outlook.next_due
        self._waiting.tell(jobs.ended, earlier=earlier)

    # Adding

    def add(self, records: Sequence[JobRecord]) -> Sequence[Added]:
        if not records:
            return []
        return self._transactions.write(
            lambda jobs: self._adding.add(jobs, records),
            lambda jobs: self._adding.add_at_once(jobs, records),
        )

    def add_within(
        self,
        records: Sequence[JobRecord],
        transaction: object,
        committed: Callable[[Sequence[JobRecord]], None],
    ) -> Sequence[Added]:
        def over() -> None:
            # Committed or rolled back, as a whole or in part: what is there tells.
            there = self.get(answer.record.id for answer in added if answer.created)
            if there:
                committed([*there.values()])

        added = self._guests.add(records, transaction, self.identity, over)
        return added

    def tick(self, schedule: str, due_at: datetime, record: JobRecord) -> bool:
        due = to_micros(due_at)

        def tick(jobs: Jobs) -> bool:
            last = jobs.db.execute(_LAST_DUE, {"schedule": schedule}).scalar()
            if last is not None and last >= due:
                return False
            self._adding.add(jobs, [record])
            if last is None:
                # Of two that are the first, one fails here, and comes again as the second.
                jobs.db.execute(_FIRST_TICK, {"name": schedule, "last_due": due})
            else:
                jobs.db.execute(_TICK, {"schedule": schedule, "last_due": due})
            return True

        return self._transactions.write(tick)

    def schedules(self) -> Mapping[str, datetime]:
        return self._transactions.read(reads.schedules)

    # Running

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        def exchange_at_once(jobs: Jobs) -> Handover | None:
            ended = self._in_hand.successes(sorted(outcomes, key=lambda each: each.claim))
            if len(ended) < len(outcomes):
                return None
            if want.limit > 0 and self._workers.is_to_glance(worker):
                return None
            taken = at_once.exchange(jobs, worker, ended, want)
            return None if taken is None else Handover(taken, [each.claim for each in outcomes])

        def exchange(jobs: Jobs) -> Handover:
            settled = settle(jobs, outcomes, self._in_hand)
            taken, over = hand_out(jobs, worker, want)
            if want.limit > 0:
                self._workers.glance(jobs, worker)
            cancelled = [*settled.cancelled, *over]
            return Handover(taken, settled.done, settled.stale, cancelled)

        if want.limit > 0:
            with self._waiting.looking(want.limit) as got:
                handover = self._transactions.write(exchange, exchange_at_once)
                got.extend(handover.claimed)
            self._workers.glanced(worker)
        else:
            handover = self._transactions.write(exchange, exchange_at_once)
        self._in_hand.take((Claim(each.id, each.fence), each) for each in handover.claimed)
        self._in_hand.give(outcomes)
        return handover

    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        self._in_hand.keep_only(holding)
        if not notes:
            # Most notes only ask. Asking locks nothing.
            reasons = self._transactions.read(partial(self._asked, worker, holding))
            if reasons is not None:
                return reasons

        def keep(jobs: Jobs) -> Mapping[Claim, StopReason]:
            self._workers.beat(jobs, worker)
            news.release_left_out(jobs, worker, holding)
            for note in sorted(notes, key=lambda note: note.claim.job_id):
                news.keep(jobs, note, self._limits.max_log_lines)
            return news.stop_reasons(jobs, holding)

        return self._transactions.write(keep)

    def _asked(
        self, worker: str, holding: Collection[Claim], jobs: Jobs
    ) -> Mapping[Claim, StopReason] | None:
        """Return why attempts should stop; None if there is something to write as well."""
        if self._workers.needs_beat(jobs, worker) or news.leaves_out(jobs, worker, holding):
            return None
        return news.stop_reasons(jobs, holding)

    # Commands

    def command(self, job_id: str, command: Command) -> JobRecord:
        return self._transactions.write(lambda jobs: self._command(jobs, job_id, command))

    def _command(self, jobs: Jobs, job_id: str, command: Command) -> JobRecord:
        if isinstance(command, Retry):
            self._hold_key(jobs, job_id)
        before = jobs.load(job_id, locked=True)
        if before is None:
            raise JobNotFoundError(job_id)
        after = commanded(before, command, jobs.now)
        if isinstance(command, Discard):
            jobs.discard(before)
            return before
        if isinstance(command, Retry) and (key := after.unique_key) is not None:
            holder = jobs.holders([key], besides=job_id).get(key)
            if holder is not None:
                raise UniqueKeyTakenError(job_id, key, holder.id)
        if isinstance(command, Annotate):
            self._adding.annotate(jobs, after)
        return jobs.save(before, after)

    @staticmethod
    def _hold_key(jobs: Jobs, job_id: str) -> None:
        """Keep all others from the key of the job, before the job is locked: see ``adding.py``."""
        record = jobs.load(job_id)
        if record is not None and record.unique_key is not None:
            hold_keys(jobs.db, [record.unique_key])

    def queue(self, name: str, command: QueueCommand) -> None:
        paused = int(isinstance(command, Pause))

        def change(jobs: Jobs) -> None:
            known = jobs.db.execute(_SET_PAUSED, {"queue": name, "paused": paused}).rowcount
            if not known and paused:
                jobs.db.execute(_KNOW_QUEUE, {"name": name, "paused": paused})

        self._transactions.write(change)

    # Reading

    def get(self, ids: Iterable[str]) -> Mapping[str, JobRecord]:
        job_ids = list(islice(ids, MAX_PAGE))
        found = self._transactions.read(lambda jobs: jobs.existing(job_ids))
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def glance(self, job_id: str) -> Glance | None:
        return self._transactions.read(lambda jobs: reads.glance(jobs, job_id))

    def find(
        self, wanted: JobFilter = EVERYTHING, after: str | None = None, limit: int = 100
    ) -> Page:
        return self._transactions.read(lambda jobs: reads.find(jobs, wanted, after, limit))

    def log(self, job_id: str, after: int = 0, limit: int = 100) -> Sequence[LogLine]:
        return self._transactions.read(lambda jobs: news.read_log(jobs, job_id, after, limit))

    def stats(self) -> Sequence[QueueStats]:
        return self._transactions.read(reads.stats)

    def examine(self) -> Iterator[Finding]:
        return examine(self._transactions, self._clock)

    # Time

    def sweep(self, budget: int, known: Mapping[str, str]) -> Swept:
        swept = self._sweeper.sweep(self.identity, budget, known)
        next_due, now, calm = self._transactions.read(
            lambda jobs: (jobs.next_due(), jobs.now, jobs.is_calm())
        )
        swept = swept._replace(next_due=next_due, calm=swept.calm and calm)
        self._outlook = outlook(swept)
        if next_due is None:
            return swept
        return swept._replace(next_due=self._time.by_the_app(next_due, now))

    def prune(self, states: Collection[JobState], before: datetime, limit: int) -> int:
        pruned = 0
        while pruned < limit:
            discard = partial(sweeps.discard, states, before, limit - pruned)
            gone = self._transactions.write(discard)
            pruned += gone
            if gone < MAX_BATCH:
                break
        return pruned

    # Waiting

    def wait(self, topics: Collection[str], timeout: float) -> None:
        self._waiting.wait(topics, timeout)

    def wake(self, topics: Collection[str]) -> None:
        self._waiting.wake(topics)

    def _find_ready(self, topics: Collection[str]) -> list[str]:
        """Return those of *topics* that have something, and for ANY all queues that do."""
        return self._transactions.read(partial(self._ready, topics))

    def _ready(self, topics: Collection[str], jobs: Jobs) -> list[str]:
        runnable = runnable_queues(jobs.db) if asks_for_queues(topics) else []
        ids = [topic for topic in topics if is_id(topic)]
        there = jobs.existing(ids)
        over = {each for each in ids if each not in there or there[each].state in FINISHED}
        if DUE in topics and self._outlook.is_over(jobs.next_due(), jobs.is_calm):
            over.add(DUE)
        return those_ready(topics, runnable, over.__contains__)
