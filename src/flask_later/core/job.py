"""The job as a value, and what can be asked of it.

The rules by which it changes stand in ``core/states.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

#: A point of priority is worth this many seconds of waiting, so that nothing starves.
SECONDS_PER_PRIORITY = 60.0
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100


class JobState(StrEnum):
    """Where a job is; the table of what leads where is drawn in ``docs/design/states.md``."""

    #: Waits for the commit of whoever enqueued it.
    HELD = "held"
    #: Waits for its time: the end of its delay, or its next try.
    SCHEDULED = "scheduled"
    #: Waits for a worker.
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Waits for other code: the one here does not know its task, or its arguments do not fit.
    PARKED = "parked"


FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
#: Not running, and not finished: waiting for a commit, their time, a worker or other code.
WAITING = frozenset({JobState.HELD, JobState.SCHEDULED, JobState.QUEUED, JobState.PARKED})
#: Waiting for a worker or for their time: what ``LATER_MAX_PENDING`` counts.
PENDING = frozenset({JobState.HELD, JobState.SCHEDULED, JobState.QUEUED})


class UniqueUntil(StrEnum):
    """How long a job keeps others away from its unique key."""

    #: Until its first attempt begins: what is enqueued from then on is new work.
    STARTED = "started"
    #: Until it has ended.
    FINISHED = "finished"
    #: As long as there is a record of it.
    GONE = "gone"


class StopReason(StrEnum):
    """Why a running attempt is asked to stop."""

    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"
    #: Another attempt owns the job now: whatever this one still writes is dropped.
    LOST = "lost"


class ErrorRecord(NamedTuple):
    """An exception as text.

    ``public`` is true for what the task's author wrote for clients to read
    (:class:`~flask_later.Failure`).
    """

    type: str
    message: str
    traceback: str = ""
    public: bool = False


class Progress(NamedTuple):
    """How far an attempt has come; ``total`` is None while nobody knows."""

    current: float
    total: float | None = None
    message: str = ""

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1, or None while the total is unknown."""
        return min(max(self.current / self.total, 0.0), 1.0) if self.total else None


class LogLine(NamedTuple):
    """A line that the task wrote with ``current_job.log``; ``id`` orders the lines of one job."""

    id: int
    at: datetime
    message: str


class Hint(NamedTuple):
    """There is work on this queue of this store, preferably this job. All a broker ever carries."""

    store: str
    queue: str
    job_id: str
    fence: int

    @classmethod
    def to(cls, store: str, record: JobRecord) -> Hint:
        """Return a hint to that job in the store of that identity."""
        return cls(store, record.queue, record.id, record.fence)

    @classmethod
    def at(cls, store: str, queue: str) -> Hint:
        """Return the hint that there is work on *queue*, whichever."""
        return cls(store, queue, "", 0)


class JobRecord(NamedTuple):
    """A job as a store keeps it. Instants are aware UTC, ``payload`` and ``result`` are JSON text.

    A tuple because three are made for each job: it costs a third of a frozen dataclass.
    """

    id: str
    task: str
    queue: str
    payload: str
    state: JobState
    created_at: datetime
    #: When it may run: the end of its delay, or its next try.
    run_at: datetime
    priority: int = 0
    #: What crossed over from the request: see ``runtime/context.py``. JSON text.
    context: str = "{}"
    #: Seconds an attempt may take, or None.
    timeout: float | None = None
    unique_key: str | None = None
    #: Counts every hand-over; every write of an attempt carries it.
    fence: int = 0
    #: Attempts begun; a release gives its attempt back.
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    releases: int = 0
    #: The worker that holds the running attempt.
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stop: StopReason | None = None
    result: str | None = None
    error: ErrorRecord | None = None
    progress: Progress | None = None
    #: The digest of the signature that a parked job did not fit; None if the task was unknown.
    parked_for: str | None = None
    #: The tick that made this job, and the schedule's name.
    scheduled_at: datetime | None = None
    schedule: str | None = None
    unique_until: UniqueUntil = UniqueUntil.FINISHED
    #: Before this instant its unique key is not free, whatever has become of the job.
    key_free_at: datetime | None = None
    #: From this instant on it is not begun any more.
    expires_at: datetime | None = None
    #: When the store got the progress.
    progress_at: datetime | None = None
    #: On whose behalf it waits, where only so many of one principal may.
    principal: str | None = None

    @property
    def rank(self) -> float:
        """Its place in the queue, lower first: when it was ready, less what priority is worth."""
        return self.run_at.timestamp() - self.priority * SECONDS_PER_PRIORITY


def hints_to(store: str, records: Iterable[JobRecord]) -> list[Hint]:
    """Return hints to those of *records* that are queued in the store of that identity."""
    return [Hint.to(store, record) for record in records if record.state is JobState.QUEUED]


class Glance(NamedTuple):
    """Of a job what those want to know who wait for it: how it is, and what crossed over with it.

    The fields are those of :class:`JobRecord`.
    """

    id: str
    task: str
    context: str
    state: JobState
    created_at: datetime
    run_at: datetime
    fence: int
    attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    stop: StopReason | None
    progress: Progress | None
    progress_at: datetime | None


_glanced = attrgetter(*Glance._fields)


def glance_at(record: JobRecord) -> Glance:
    """Return what of *record* is seen at a glance."""
    return Glance._make(_glanced(record))


def is_id(text: object) -> bool:
    """Whether *text* could be the id of a job: 32 hex digits."""
    return isinstance(text, str) and len(text) == 32 and _HEX_DIGITS.issuperset(text)


_HEX_DIGITS = frozenset("0123456789abcdef")


class Cancel(NamedTuple):
    """Cancel a waiting or parked job; ask a running one to stop."""


class Retry(NamedTuple):
    """Queue a failed or cancelled job again, with new budgets."""


class Discard(NamedTuple):
    """Delete a held or finished job."""


class Resume(NamedTuple):
    """Queue a parked job, or a held one; hand out the jobs of a paused queue again."""


class Annotate(NamedTuple):
    """Replace what crossed over with the job, whatever its state: see ``JobRecord.context``.

    From then on it is a job of *principal*.
    """

    context: str
    principal: str | None = None


Command = Cancel | Retry | Discard | Resume | Annotate
