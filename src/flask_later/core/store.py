"""The port that every store implements: it keeps the jobs, and it alone says what is true.

An author of a store implements :class:`Store` and proves it with
``flask_later.testing.StoreContract``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from flask_later.core.exchange import Claim, Handover, Note, Outcome, Want
from flask_later.core.files import JobFiles
from flask_later.core.job import (
    Command,
    Glance,
    Hint,
    JobRecord,
    JobState,
    LogLine,
    Resume,
    StopReason,
    glance_at,
)
from flask_later.errors import UnsupportedError

#: Who can see a store: one process, all processes of a machine, or several machines.
Reach = Literal["process", "machine", "network"]

#: A topic for :meth:`Store.wait`: a row now falls due earlier than any did before. Queues and job
#: ids are the other topics; neither can hold an ``@``.
DUE = "@due"

#: Seconds between two beats of a worker.
BEAT = 10.0
#: Seconds without a beat after which a worker is taken for dead, where nothing better is known.
LEASE = 30.0
#: Seconds that a job may wait in a queue that nobody works on before its queue is hinted at again.
REHINT_AFTER = 5.0
#: The most hints to one queue that one sweep returns because of that.
MAX_REHINTS = 1000
#: The most expired jobs that one exchange cancels on its way to one that it can hand out.
MAX_EXPIRED = 100
#: The most rows that one read returns.
MAX_PAGE = 1000


class Added(NamedTuple):
    """The stored record. ``created`` is False if it was there before, or its unique key was.

    ``claimed``: a thread that stood by in this process has got it, so nobody need be told of it.
    """

    record: JobRecord
    created: bool
    claimed: bool = False


class Swept(NamedTuple):
    """What :meth:`Store.sweep` did, and when the next row falls due."""

    #: At what became runnable, or waits too long.
    hints: Sequence[Hint] = ()
    next_due: datetime | None = None
    #: Jobs whose attempts were taken from dead workers, as they are now: waiting or finished.
    crashed: Sequence[JobRecord] = ()
    #: Jobs that were cancelled because nobody had begun them in time.
    expired: Sequence[JobRecord] = ()
    #: Nothing waits and nothing runs: the next sweep may come late. Once that changes, those who
    #: wait for :data:`DUE` are woken.
    calm: bool = False
    #: What of it could not be done, so that to come back at once would do no good.
    failed: Sequence[str] = ()

    @property
    def rescued(self) -> int:
        """How many attempts were taken from dead workers."""
        return len(self.crashed)


class Pause(NamedTuple):
    """Hand out no more jobs of the queue; enqueueing goes on."""


QueueCommand = Pause | Resume


class WorkerRecord(NamedTuple):
    """A process that runs jobs. ``id`` is new for each process, and again after a fork.

    ``queues``: those that it takes from, or None for any. ``threads``: the jobs that it runs at a
    time.
    """

    id: str
    host: str
    pid: int
    started_at: datetime
    queues: tuple[str, ...] | None = None
    threads: int = 0

    def serves(self, queue: str) -> bool:
        """Whether it takes from *queue*."""
        return self.queues is None or queue in self.queues


class JobFilter(NamedTuple):
    """What :meth:`Store.find` looks for; None means any."""

    states: frozenset[JobState] | None = None
    task: str | None = None
    queue: str | None = None


EVERYTHING = JobFilter()


class Page(NamedTuple):
    """Rows, newest first, and the cursor of the next page, or None at the end."""

    records: Sequence[JobRecord]
    after: str | None


class QueueStats(NamedTuple):
    """A queue as it is now. ``oldest_run_at``: since when its oldest runnable job has waited."""

    name: str
    paused: bool
    counts: Mapping[JobState, int]
    oldest_run_at: datetime | None


class Finding(NamedTuple):
    """What somebody who looks after a store should know. ``advice`` is the line to type."""

    level: Literal["ok", "warning", "error"]
    text: str
    advice: str = ""


class Salvage(NamedTuple):
    """What :meth:`Store.salvage` has saved, and what it could not."""

    jobs: int
    log_lines: int
    #: The ids of lost jobs, as far as they are known.
    lost: Sequence[str]
    #: The most jobs that may be lost besides, of which nothing is known.
    unknown: int
    #: What else was not saved as a whole, in words.
    incomplete: Sequence[str]
    #: Whether the new store is known by the name of the old one.
    same_identity: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that a store keeps."""

    #: Jobs that may wait; one more is refused with ``QueueFullError``.
    max_pending: int = 100_000
    #: Jobs of one principal that may wait; one more is refused with ``PrincipalQueueFullError``.
    max_pending_per_principal: int | None = None
    #: How long a record is kept after its end, by state.
    keep: Mapping[JobState, timedelta] = field(
        default_factory=lambda: {
            JobState.SUCCEEDED: timedelta(days=7),
            JobState.FAILED: timedelta(days=30),
            JobState.CANCELLED: timedelta(days=30),
        }
    )
    #: Finished records kept at most; the oldest go first.
    max_finished: int = 100_000
    #: Log lines kept for each job; the oldest go first.
    max_log_lines: int = 1_000


DEFAULT_LIMITS = Limits()


class Store(ABC):
    """Keeps the jobs of one app.

    Every method

    1. is safe to call from any thread, and does its work in one transaction: all or nothing;
    2. may be repeated after a lost answer: adding and settling the same again changes nothing;
    3. takes its time from the app's clock once, and compares every row with that;
    4. returns plain values that nobody else can change.

    A store is used by one process at a time: after a fork it is opened again in the child.
    """

    #: Names this store in hints; the same for all processes that share it.
    identity: str
    #: Where it is, for people to read: never with a password.
    place: str = ""
    #: Whether a job survives the process that stored it.
    durable: bool
    reach: Reach
    #: Seconds after which the jobs of a dead worker run again; infinity for never.
    rescue_after: float

    @property
    def files(self) -> JobFiles:
        """Where files are kept that belong to its jobs.

        :raises UnsupportedError: if this store keeps none.
        """
        raise UnsupportedError(
            "What is larger than 64 kB",
            f"the store {self.place} keeps no files",
            "Set LATER_STORE = 'sqlite:///later.sqlite3'.",
        )

    @abstractmethod
    def open(self) -> None:
        """Make the store usable in this process, and again in a child after a fork.

        :raises StoreMismatchError: if what is there cannot be used; it is left untouched.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what this process holds of it. Calling it twice does no harm."""

    @abstractmethod
    def register(self, worker: WorkerRecord) -> None:
        """Make *worker* known, as alive. Must come before its first claim."""

    @abstractmethod
    def retire(self, worker: str) -> Sequence[Hint]:
        """Forget *worker*, releasing what it still holds; returns hints to the released."""

    @abstractmethod
    def workers(self) -> Sequence[WorkerRecord]:
        """Return the workers that are alive, oldest first: registered, not retired, not dead."""

    @abstractmethod
    def add(self, records: Sequence[JobRecord]) -> Sequence[Added]:
        """Store *records* in one commit; returns one answer for each, in their order.

        A record whose id is there is not stored again. One whose ``unique_key`` another job holds
        (:func:`~flask_later.core.states.holds_key`) is not stored; the answer is that job.

        :raises QueueFullError: if they would exceed the limit; then none of them is stored.
        :raises PrincipalQueueFullError: if they would exceed that of a principal; likewise.
        """

    def add_within(
        self,
        records: Sequence[JobRecord],
        transaction: object,
        committed: Callable[[Sequence[JobRecord]], None],
    ) -> Sequence[Added]:
        """As :meth:`add`, in the caller's own transaction: stored are they if that is committed.

        :param transaction: what the caller has it in, such as a SQLAlchemy session.
        :param committed: is called after its end with those that are stored then, if any are.
        :raises UnsupportedError: if the store does not share the database of that transaction.
        """
        raise UnsupportedError(
            "within=",
            f"the store {self.place} is in no database that it could share with the app",
            "Set LATER_STORE to the database of the app, such as 'postgresql://...'.",
        )

    @abstractmethod
    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        """Settle *outcomes* and claim up to ``want.limit`` jobs, in one commit.

        An outcome is *done* if its fence is the job's, also when the job was settled under it
        before, so that a lost answer can be asked for again. It is *stale*, and changes nothing,
        if the fence has moved on or the job is gone. Retrying or releasing a job that somebody
        asked to cancel cancels it.

        The claimed are the best of their queue: lowest rank, then the one stored first. Paused
        queues are passed over. A claim is a new hand-over: it bumps the fence. A job that has
        expired is cancelled in place of being claimed.
        """

    @abstractmethod
    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        """Beat for *worker*, and keep progress and log lines of its attempts.

        *holding* names every attempt it has in hand. One that the store believes it holds, and
        that all beats of the last :data:`BEAT` seconds have left out, is released. Returns why any
        of the held should stop: ``CANCELLED``, or ``LOST`` if the fence has moved on. Notes of
        attempts whose fence has moved on are dropped.
        """

    @abstractmethod
    def command(self, job_id: str, command: Command) -> JobRecord:
        """Carry out *command* and return the record as it is then.

        :raises JobNotFoundError: if there is no such job.
        :raises InvalidTransitionError: if its state does not allow it.
        :raises UniqueKeyTakenError: if another job holds its unique key now.
        :raises PrincipalQueueFullError: if too many jobs wait of the principal that it becomes one
            of; nothing is changed then.
        """

    @abstractmethod
    def queue(self, name: str, command: QueueCommand) -> None:
        """Pause or resume a queue, for all processes. A queue exists as soon as it is named."""

    @abstractmethod
    def get(self, ids: Iterable[str]) -> Mapping[str, JobRecord]:
        """Return the records of *ids*; those that do not exist are left out."""

    def glance(self, job_id: str) -> Glance | None:
        """Return how a job is, if there is one, to whoever wants to know nothing more."""
        record = self.get([job_id]).get(job_id)
        return None if record is None else glance_at(record)

    @abstractmethod
    def find(
        self, wanted: JobFilter = EVERYTHING, after: str | None = None, limit: int = 100
    ) -> Page:
        """Return matching records, newest first, at most :data:`MAX_PAGE`.

        *after* is the cursor of the page before; one that is not ours gives an empty page.
        """

    @abstractmethod
    def log(self, job_id: str, after: int = 0, limit: int = 100) -> Sequence[LogLine]:
        """Return the job's log lines with an id above *after*, oldest first."""

    @abstractmethod
    def stats(self) -> Sequence[QueueStats]:
        """Return every queue that has jobs or is paused, by name."""

    @abstractmethod
    def sweep(self, budget: int, known: Mapping[str, str]) -> Swept:
        """Do what time alone brings about, at most *budget* rows of each kind.

        Rescue the attempts of dead workers, cancel what has expired, queue what has fallen due,
        queue parked jobs whose task *known* (names to signature digests) now holds with another
        digest, delete finished records past their time to live or beyond the cap. The time to live
        begins at ``key_free_at`` where that is later than the end, and the cap does not touch a
        record before that. Any process may call it at any time.

        Hints may have been lost: a queue whose oldest runnable job has waited
        :data:`REHINT_AFTER` seconds is hinted at again, once for each runnable job up to
        :data:`MAX_REHINTS`. Of all sweeps of all processes one does that, and none again before
        the same time has passed. A paused queue is left alone.
        """

    @abstractmethod
    def prune(self, states: Collection[JobState], before: datetime, limit: int) -> int:
        """Delete at most *limit* records that ended in one of *states* at *before* or earlier.

        The oldest go first. What is not finished stays, whatever *states* says, and so does what
        still keeps its unique key. Returns how many went.
        """

    @abstractmethod
    def tick(self, schedule: str, due_at: datetime, record: JobRecord) -> bool:
        """Store *record* if *schedule* has not yet fired at *due_at* or later, in one commit.

        False if another process was first.
        """

    @abstractmethod
    def schedules(self) -> Mapping[str, datetime]:
        """Return when each schedule that ever fired was last due."""

    @abstractmethod
    def wait(self, topics: Collection[str], timeout: float) -> None:
        """Sleep until one of *topics* may have something, at most *timeout* seconds.

        A queue has something while one of its jobs could be claimed, and a job id once that job
        is finished or gone: then it returns at once. Of those who wait for a queue, :meth:`wake`
        wakes them; for a job, settling does. May return for no reason. No topics: any queue.
        """

    def stand_by(self, worker: str, want: Want, timeout: float) -> Sequence[JobRecord]:
        """Sleep as in :meth:`wait` for the queues of *want*; return what *worker* has got by then.

        A store may claim a job for who stands by in the commit that adds it, by the same rules as
        :meth:`exchange`. If nothing is returned, there may be something to claim all the same.
        """
        self.wait(want.queues or (), timeout)
        return ()

    @abstractmethod
    def wake(self, topics: Collection[str]) -> None:
        """Make those who wait for *topics* look again, one of them for each queue.

        While the one that was woken last for a queue is not back, a store may leave the next
        asleep until then, and wake it if there still is something. Who writes calls it after the
        commit. A hint: it may be lost. No topics: all who wait in this process.
        """

    def examine(self) -> Iterator[Finding]:
        """Yield what can be said about the health of the store, for ``flask later doctor``.

        Changes nothing. It may take long, so each finding comes as soon as it is known.
        """
        return iter(())

    def salvage(self, target: Path, step: Callable[[int, int], None]) -> Salvage:
        """Copy what can be read of a damaged store into a new one, for ``flask later recover``.

        The store need not be open, and is not changed.

        :param step: is called with how far it is, and how far it will be at the end.
        :raises UnsupportedError: if nothing of this kind can be damaged so.
        """
        raise UnsupportedError(
            "flask later recover",
            f"the store {self.place} is no file",
            "It saves what can be read of a SQLite file.",
        )
