"""Which jobs are handed out next, and handing them out.

A claim locks the best jobs that nobody else has locked, so no two claims wait for each other, nor
does any job go to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import chain, groupby
from operator import itemgetter

from sqlalchemy import Connection, bindparam, select, text, update
from sqlalchemy.dialects import mysql

from flask_later.core.exchange import Want
from flask_later.core.job import JobRecord, JobState
from flask_later.core.states import claimed, expired, is_expired, may_share
from flask_later.core.store import MAX_EXPIRED, MAX_PAGE
from flask_later.stores.columns import to_micros, to_record

from .jobs import SELECT, Jobs
from .tables import job, queue, state_is
from .texts import Name

_READY = (state_is(JobState.QUEUED), job.c.queue == bindparam("queue"))
_HINT = "FORCE INDEX (later_job_ready)"
# The order is that of the index to the letter, or the backlog would be sorted.
TAKE = (
    SELECT.where(*_READY)
    .order_by(job.c.rank, job.c.seq)
    .limit(bindparam("limit"))
    .with_hint(job, _HINT, mysql.dialect.name)
    .with_for_update(skip_locked=True)
)
FRONT = (
    select(job.c.rank, job.c.seq, job.c.queue)
    .where(*_READY)
    .order_by(job.c.rank, job.c.seq)
    .limit(bindparam("limit"))
    .with_hint(job, _HINT, mysql.dialect.name)
)
# From one queue to the next by the index; DISTINCT would read every job that waits.
RUNNABLE = """
    WITH RECURSIVE ready (queue) AS (
        SELECT (SELECT queue FROM later_job WHERE state = 'queued' ORDER BY queue LIMIT 1)
        UNION ALL
        SELECT (
            SELECT later_job.queue FROM later_job
            WHERE later_job.state = 'queued' AND later_job.queue > ready.queue
            ORDER BY later_job.queue LIMIT 1
        )
        FROM ready WHERE ready.queue IS NOT NULL
    )
    SELECT queue FROM ready
    WHERE queue IS NOT NULL AND queue NOT IN (SELECT name FROM later_queue WHERE paused = 1)
"""
_RUNNABLE = text(RUNNABLE).columns(queue=Name(255))
_PAUSED = select(queue.c.name).where(queue.c.paused == 1)
_HAND_OUT = (
    update(job)
    .where(job.c.seq.in_(bindparam("seqs", expanding=True)))
    .values(
        state=JobState.RUNNING.value,
        fence=job.c.fence + 1,
        attempts=job.c.attempts + 1,
        worker=bindparam("the_worker"),
        started_at=bindparam("now"),
        progress=None,
        progress_at=None,
        parked_for=None,
        expiring_at=None,
        pending_of=None,
        left_out=None,
    )
)


def runnable_queues(db: Connection) -> list[str]:
    """Return the queues that have something to hand out, by name."""
    return [name for (name,) in db.execute(_RUNNABLE)]


def hand_out(jobs: Jobs, worker: str, want: Want) -> tuple[list[JobRecord], list[JobRecord]]:
    """Give *worker* what it wants; return that, and the expired ones that lay before it."""
    hand = _Hand(jobs, worker, min(want.limit, MAX_PAGE))
    # Behind expired ones lie others, whose turn is before that of the next queue.
    while not hand.is_closed and _take_once(hand, _portions(jobs.db, want, hand.room)):
        pass
    return hand.taken, hand.over


def _take_once(hand: _Hand, portions: Sequence[tuple[str, int]]) -> bool:
    """Take what the hand has room for; stop and return True where some had expired."""
    for name, number in portions:
        before = len(hand.over)
        hand.take(name, number)
        if hand.is_closed:
            return False
        if len(hand.over) > before:
            return True
    return False


def _portions(db: Connection, want: Want, limit: int) -> Sequence[tuple[str, int]]:
    """Return how many to take from which queue, at most, in this order."""
    first = [] if want.prefer is None else [want.prefer.queue]
    if want.queues is not None:
        paused = {name for (name,) in db.execute(_PAUSED)}
        names = dict.fromkeys((*first, *want.queues))
        return [(name, limit) for name in names if name not in paused]
    runnable = runnable_queues(db)
    preferred = [(name, limit) for name in runnable if name in first]
    others = [name for name in runnable if name not in first]
    return [*preferred, *_by_rank(db, others, limit)]


def _by_rank(db: Connection, names: Sequence[str], limit: int) -> Sequence[tuple[str, int]]:
    """As :func:`_portions`, the best of all these queues first."""
    if len(names) < 2:
        return [(name, limit) for name in names]
    fronts = [db.execute(FRONT, {"queue": name, "limit": limit}).all() for name in names]
    best = nsmallest(limit, chain.from_iterable(fronts), key=itemgetter(0, 1))
    return [(name, len([*rows])) for name, rows in groupby(best, key=itemgetter(2))]


class _Hand:
    """What a worker gets in one exchange, at most *size* jobs."""

    def __init__(self, jobs: Jobs, worker: str, size: int) -> None:
        self._jobs = jobs
        self._worker = worker
        self._size = size
        self.taken: list[JobRecord] = []
        #: The expired ones that were found instead.
        self.over: list[JobRecord] = []
        #: Nothing more may come into it.
        self.is_closed = size <= 0

    @property
    def room(self) -> int:
        return self._size - len(self.taken)

    def take(self, name: str, number: int) -> None:
        """Take up to *number* of the best jobs of a queue."""
        # Where some had expired others will have, and each look costs a round trip.
        limit = min(number, self.room) + len(self.over)
        seqs: list[int] = []
        for *row, seq in self._jobs.db.execute(TAKE, {"queue": name, "limit": limit}).all():
            if self._consider(to_record(row)):
                seqs.append(seq)
            if self.is_closed:
                break
        self._write(seqs)

    def _consider(self, record: JobRecord) -> bool:
        """Whether the worker gets that job."""
        now = self._jobs.now
        if is_expired(record, now):
            self.is_closed = len(self.over) >= MAX_EXPIRED
            if not self.is_closed:
                self.over.append(self._jobs.save(record, expired(record, now)))
            return False
        if self.taken and not may_share(self.taken[0], record):
            self.is_closed = True
            return False
        self.taken.append(claimed(record, self._worker, now))
        self.is_closed = self.room == 0
        return True

    def _write(self, seqs: Sequence[int]) -> None:
        if seqs:
            now = to_micros(self._jobs.now)
            values = {"seqs": seqs, "the_worker": self._worker, "now": now}
            self._jobs.db.execute(_HAND_OUT, values)
            self._jobs.more_pending -= len(seqs)
