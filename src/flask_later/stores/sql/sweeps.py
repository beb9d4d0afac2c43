"""What time alone brings about, step by step: at most *budget* rows of each kind.

Each step is a transaction of its own, and locks what it moves; what another process has locked is
left to that one. A step that fails does not keep the others from their work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import bindparam, delete, exists, func, insert, or_, select, text, update

from flask_later.core.clock import Clock
from flask_later.core.job import FINISHED, Hint, JobRecord, JobState
from flask_later.core.store import MAX_REHINTS, REHINT_AFTER, Limits, Swept
from flask_later.errors import StoreUnavailableError
from flask_later.stores import upkeep
from flask_later.stores.columns import to_micros
from flask_later.stores.upkeep import (
    COUNT_EVERY,
    MAX_BATCH,
    TIDY_EVERY,
    Done,
    Rota,
    in_batches,
    swept,
)

from . import tally, workers
from .claims import runnable_queues
from .jobs import SELECT, Jobs, delete_files
from .tables import file, job, listener, queue, state_is
from .texts import Name
from .transactions import Transactions

#: Seconds between two looks for files of no job, which read the table.
_STRAYS_EVERY = 3600.0
#: Microseconds after which files may go whose job is not there: it may be about to be stored.
_STRAY_AFTER = int(3600e6)
#: Microseconds without a word after which a process is taken to listen no more.
LISTENS_FOR = int(30e6)
#: By priority the oldest may be anywhere in the queue, mostly it is near the front. What is further
#: behind gets there, or nobody works on the queue: then the front itself is old soon.
_LOOK_THROUGH = 1000

_REHINT_AFTER = int(REHINT_AFTER * 1e6)
_HINTED = select(queue.c.name, queue.c.hinted_at).where(queue.c.hinted_at.is_not(None))
_FIRST = (
    select(job.c.id, job.c.fence, job.c.run_at)
    .where(state_is(JobState.QUEUED), job.c.queue == bindparam("queue"))
    .order_by(job.c.rank, job.c.seq)
    .limit(bindparam("limit"))
)
# Of all processes one changes it.
_NOTE_HINTED = (
    update(queue)
    .where(
        queue.c.name == bindparam("queue"),
        or_(
            queue.c.hinted_at.is_(None),
            queue.c.hinted_at <= bindparam("before"),
            # One in the future: the clock was put back.
            queue.c.hinted_at > bindparam("now"),
        ),
    )
    .values(hinted_at=bindparam("now"))
)
_IS_KNOWN = select(queue.c.name).where(queue.c.name == bindparam("queue"))
_KNOW = insert(queue)

_OVERDUE = (
    SELECT.where(job.c.expiring_at <= bindparam("now"))
    .order_by(job.c.expiring_at, job.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DUE = (
    SELECT.where(state_is(JobState.SCHEDULED), job.c.turn_at <= bindparam("now"))
    .order_by(job.c.turn_at, job.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
# From one task to the next by the index; DISTINCT would read every job that is parked.
_PARKED_TASKS = text("""
    WITH RECURSIVE parked (task) AS (
        SELECT (SELECT task FROM later_job WHERE state = 'parked' ORDER BY task LIMIT 1)
        UNION ALL
        SELECT (
            SELECT later_job.task FROM later_job
            WHERE later_job.state = 'parked' AND later_job.task > parked.task
            ORDER BY later_job.task LIMIT 1
        )
        FROM parked WHERE parked.task IS NOT NULL
    )
    SELECT task FROM parked WHERE task IS NOT NULL
""").columns(task=Name(255))
_PARKED = (
    SELECT.where(state_is(JobState.PARKED), job.c.task == bindparam("task"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
# Not "is another one", which would read all that fit.
_PARKED_FOR_OTHERS = (
    _PARKED.where(job.c.parked_for.is_(None)).order_by(job.c.seq),
    _PARKED.where(job.c.parked_for < bindparam("known")).order_by(job.c.parked_for, job.c.seq),
    _PARKED.where(job.c.parked_for > bindparam("known")).order_by(job.c.parked_for, job.c.seq),
)
_PAST = {
    state: (
        select(job.c.turn_at, job.c.seq, job.c.id)
        .where(state_is(state), job.c.turn_at <= bindparam("before"))
        .order_by(job.c.turn_at, job.c.seq)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )
    for state in FINISHED
}
_FINISHED = select(func.count()).where(state_is(*sorted(FINISHED)), job.c.turn_at.is_not(None))
_STRAYS = (
    select(file.c.job)
    .where(
        file.c.number == 0,
        file.c.at < bindparam("before"),
        ~exists().where(job.c.id == file.c.job),
    )
    .limit(bindparam("limit"))
)
_FORGET_LISTENERS = delete(listener).where(listener.c.at < bindparam("before"))


@dataclass(frozen=True)
class Step:
    """One kind of upkeep, of at most so many rows."""

    name: str
    do: Callable[[Jobs, int], Done]
    #: Seconds to the next look where nothing was found; to look may be dear.
    every: float = 0.0


class Sweeper:
    """Takes the steps, in their order."""

    def __init__(self, transactions: Transactions, clock: Clock, limits: Limits) -> None:
        self._transactions = transactions
        self._clock = clock
        self._limits = limits
        self._rota = Rota(clock)

    def sweep(self, store: str, budget: int, known: Mapping[str, str]) -> Swept:
        """Do what is due in the store of that identity. When the next row falls due is not told,
        and calm means that nothing was to be done.

        :raises StoreUnavailableError: if the database is gone.
        """
        failures: dict[str, Exception] = {}
        done: list[Done] = []
        for step in filter(self._rota.is_time, self._steps(store, known)):
            try:
                done += self._take(step, budget)
            except StoreUnavailableError:
                raise
            except Exception as error:
                failures[step.name] = error
        self._rota.complain(failures)
        return swept(done, failures, calm=not failures and not any(each.rows for each in done))

    def _take(self, step: Step, budget: int) -> Iterator[Done]:
        rows = 0
        for done in in_batches(partial(self._take_batch, step), budget):
            rows += done.rows
            yield done
        if not rows:
            self._rota.found_nothing(step)

    def _take_batch(self, step: Step, batch: int) -> Done:
        return self._transactions.write(lambda jobs: step.do(jobs, batch))

    def _steps(self, store: str, known: Mapping[str, str]) -> list[Step]:
        limits = self._limits
        return [
            Step("expire", _expire),
            # Before the others, so that what this sweep moves is not hinted at twice.
            Step("rehint", partial(_rehint, store)),
            Step("rescue", partial(_rescue, store)),
            Step("stage", partial(_stage, store)),
            Step("unpark", partial(_unpark, store, known)),
            Step("prune", partial(_prune, limits)),
            Step("cap", partial(_cap, limits), every=COUNT_EVERY),
            Step("tidy", _tidy, every=TIDY_EVERY),
            Step("strays", _delete_strays, every=_STRAYS_EVERY),
        ]


def _expire(jobs: Jobs, limit: int) -> Done:
    return upkeep.expire(jobs, jobs.select(_OVERDUE, _now(jobs, limit)))


def _rescue(store: str, jobs: Jobs, limit: int) -> Done:
    return upkeep.rescue(store, jobs, workers.abandoned(jobs, limit))


def _stage(store: str, jobs: Jobs, limit: int) -> Done:
    return upkeep.stage(store, jobs, jobs.select(_DUE, _now(jobs, limit)))


def _unpark(store: str, known: Mapping[str, str], jobs: Jobs, limit: int) -> Done:
    """Queue parked jobs whose task is known by another digest than the one they did not fit."""
    parked: list[JobRecord] = []
    for (task,) in jobs.db.execute(_PARKED_TASKS).all():
        for statement in _PARKED_FOR_OTHERS if task in known else ():
            if len(parked) < limit:
                values = {"task": task, "known": known[task], "limit": limit - len(parked)}
                parked += jobs.select(statement, values)
    return upkeep.unpark(store, jobs, parked)


def _rehint(store: str, jobs: Jobs, limit: int) -> Done:
    """Return hints to queues whose own seem to be lost. One process gets them."""
    now = to_micros(jobs.now)
    before = now - _REHINT_AFTER
    hinted_at: dict[str, int] = {row.name: row.hinted_at for row in jobs.db.execute(_HINTED)}
    hints: list[Hint] = []
    for name in runnable_queues(jobs.db)[:limit]:
        if before < hinted_at.get(name, before) <= now:
            continue
        waiting = jobs.db.execute(_FIRST, {"queue": name, "limit": _LOOK_THROUGH}).all()
        if any(run_at <= before for _, _, run_at in waiting) and _note_hinted(jobs, name, before):
            hints += [
                Hint(store, name, job_id, fence) for job_id, fence, _ in waiting[:MAX_REHINTS]
            ]
    return Done(0, hints)


def _note_hinted(jobs: Jobs, name: str, before: int) -> bool:
    """Whether nobody else has hinted at the queue since *before*."""
    values = {"queue": name, "before": before, "now": to_micros(jobs.now)}
    if jobs.db.execute(_NOTE_HINTED, values).rowcount:
        return True
    if jobs.db.execute(_IS_KNOWN, {"queue": name}).first():
        return False
    jobs.db.execute(_KNOW, {"name": name, "paused": 0, "hinted_at": to_micros(jobs.now)})
    return True


def _prune(limits: Limits, jobs: Jobs, limit: int) -> Done:
    """Delete finished jobs past their time to live."""
    past = _past(jobs, {state: jobs.now - keep for state, keep in limits.keep.items()}, limit)
    return upkeep.delete(jobs, past)


def _cap(limits: Limits, jobs: Jobs, limit: int) -> Done:
    """Delete the oldest of the finished jobs that are too many."""
    excess = min(int(jobs.db.execute(_FINISHED).scalar_one()) - limits.max_finished, limit)
    return upkeep.delete(jobs, _past(jobs, dict.fromkeys(FINISHED, jobs.now), excess))


def _tidy(jobs: Jobs, limit: int) -> Done:
    """Forget who is gone, and take up what the apps' own transactions have counted."""
    workers.forget_dead(jobs)
    jobs.db.execute(_FORGET_LISTENERS, {"before": to_micros(jobs.now) - LISTENS_FOR})
    return Done(tally.fold(jobs.db, limit))


def _delete_strays(jobs: Jobs, limit: int) -> Done:
    """Delete files that a process has left behind which died before it stored their job."""
    values = {"before": to_micros(jobs.now) - _STRAY_AFTER, "limit": limit}
    strays = jobs.db.execute(_STRAYS, values).scalars().all()
    if strays:
        delete_files(jobs.db, strays)
    return Done(len(strays))


def _past(jobs: Jobs, before: Mapping[JobState, datetime], limit: int) -> list[str]:
    """Return the jobs that ended by the time of their end in *before*, the oldest first."""
    if limit <= 0:
        return []
    past = [
        tuple(row)
        for state, instant in before.items()
        if state in _PAST
        for row in jobs.db.execute(_PAST[state], {"before": to_micros(instant), "limit": limit})
    ]
    return [job_id for _, _, job_id in sorted(past)[:limit]]


def _now(jobs: Jobs, limit: int) -> dict[str, Any]:
    return {"now": to_micros(jobs.now), "limit": limit}


def discard(states: Collection[JobState], before: datetime, limit: int, jobs: Jobs) -> int:
    """Delete at most *limit* jobs that ended so at *before* or earlier, the oldest first."""
    old = _past(jobs, dict.fromkeys(states, before), min(limit, MAX_BATCH))
    jobs.delete(old)
    return len(old)
