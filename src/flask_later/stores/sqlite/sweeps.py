"""What time alone brings about, step by step: at most *budget* rows of each kind.

A step looks first, which disturbs nobody, and writes only if there is something to do: an idle
process never takes the lock of the file. Each step is a transaction of its own, and one that fails
does not keep the others from their work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from flask_later.core.clock import Clock
from flask_later.core.job import FINISHED, Hint, JobRecord, JobState
from flask_later.core.store import MAX_REHINTS, REHINT_AFTER, Limits, Swept
from flask_later.errors import StoreBusyError
from flask_later.stores import upkeep
from flask_later.stores.columns import to_micros
from flask_later.stores.upkeep import COUNT_EVERY, TIDY_EVERY, Done, Rota, in_batches, swept

from .claims import runnable_queues
from .connection import Connection
from .jobs import DUE_BEFORE, Jobs
from .trouble import is_corrupt
from .wakeups import Wakeups
from .workers import Workers

_REHINT_AFTER = int(REHINT_AFTER * 1e6)
_HINTED = "SELECT queue, at FROM hinted"
_NOTE_HINTED = "INSERT OR REPLACE INTO hinted (queue, at) VALUES (?, ?)"
# By priority the oldest may be anywhere in the queue, mostly it is near the front. What is further
# behind gets there, or nobody works on the queue: then the front itself is old soon.
_WAITS_LONG = """
    SELECT 1 FROM (
        SELECT run_at FROM job WHERE state = 'queued' AND queue = ? ORDER BY rank, seq LIMIT 1000
    ) WHERE run_at <= ? LIMIT 1
"""
_RUNNABLE = (
    "SELECT id, fence FROM job WHERE state = 'queued' AND queue = ? ORDER BY rank, seq LIMIT ?"
)

# From one task to the next by the index; DISTINCT would read every job that is parked.
_PARKED_TASKS = """
    WITH RECURSIVE parked (task) AS (
        SELECT min(task) FROM job WHERE state = 'parked'
        UNION ALL
        SELECT (SELECT min(task) FROM job WHERE state = 'parked' AND task > parked.task)
        FROM parked WHERE parked.task IS NOT NULL
    )
    SELECT task FROM parked WHERE task IS NOT NULL
"""
# Not "parked_for IS NOT ?", which would read all that fit.
_PARKED = "WHERE state = 'parked' AND task = ? AND parked_for "
_PARKED_FOR_OTHERS = (
    _PARKED + "IS NULL AND ? IS NOT NULL ORDER BY seq LIMIT ?",
    _PARKED + "< ? ORDER BY parked_for, seq LIMIT ?",
    _PARKED + "> ? ORDER BY parked_for, seq LIMIT ?",
)

# Like the index job_expiring, for the same reason as below.
EXPIRED_BY = (
    "WHERE expires_at IS NOT NULL AND attempts = 0 "
    "AND state IN ('held', 'scheduled', 'queued', 'parked') "
    "AND expires_at <= ? ORDER BY expires_at, seq LIMIT ?"
)

# The expression is that of the index job_finished, to the letter, or SQLite does not see that it
# may use it.
_ENDED = "max(finished_at, ifnull(key_free_at, 0))"
# For each state by its word: SQLite makes a new plan for each value that decides on an index.
PAST = {
    state: (
        f"SELECT {_ENDED}, seq, id FROM job WHERE state = '{state.value}' "
        f"AND {_ENDED} <= ? ORDER BY {_ENDED}, seq LIMIT ?"
    )
    for state in FINISHED
}
_COUNT = "(SELECT count(*) FROM job WHERE state = '{}')"
_FINISHED = f"SELECT {' + '.join(_COUNT.format(state.value) for state in sorted(FINISHED))}"

#: What may need a sweep soon, of which nobody says when.
UNREST = (
    "SELECT 1 FROM job WHERE state = 'queued' LIMIT 1",
    "SELECT 1 FROM job WHERE state = 'running' LIMIT 1",
    """
    SELECT 1 FROM job WHERE expires_at IS NOT NULL
    AND attempts = 0 AND state IN ('held', 'scheduled', 'queued', 'parked') LIMIT 1
    """,
)


def is_calm(db: Connection) -> bool:
    """Whether nothing may need a sweep before the next row falls due."""
    return not any(map(db.one, UNREST))


@dataclass(frozen=True)
class Step:
    """One kind of upkeep. ``find`` only reads; ``do`` gets what was found in its transaction."""

    name: str
    find: Callable[[Jobs, int], Sequence[Any]]
    do: Callable[[Jobs, Sequence[Any]], Done]
    #: Seconds to the next look where nothing was found; to look may be dear.
    every: float = 0.0


class _Write(Protocol):
    def __call__(self, operation: Callable[[Jobs], Done]) -> Done: ...


class Sweeper:
    """Takes the steps, in their order, each look anew."""

    def __init__(
        self,
        read: Callable[[], AbstractContextManager[Connection]],
        write: _Write,
        workers: Workers,
        wakeups: Wakeups,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._read = read
        self._write = write
        self._workers = workers
        self._wakeups = wakeups
        self._clock = clock
        self._limits = limits
        self._rota = Rota(clock)

    def sweep(self, store: str, budget: int, known: Mapping[str, str]) -> Swept:
        """Do what is due in the store of that identity.

        :raises StoreError: if the file cannot be read.
        """
        failures: dict[str, Exception] = {}
        due, next_due, calm = self._look(self._steps(store, known), failures)
        done = list(self._take(due, budget, failures))
        if due:
            _, next_due, _ = self._look([], failures)
        self._rota.complain(failures)
        return swept(done, failures, next_due, calm=calm and not due and not failures)

    def _look(
        self, steps: Sequence[Step], failures: dict[str, Exception]
    ) -> tuple[list[Step], datetime | None, bool]:
        """Return the steps that have something to do, when the next row falls due, and whether
        nothing waits or runs.
        """
        due: list[Step] = []
        with self._read() as db:
            jobs = Jobs(db, self._clock.now())
            for step in filter(self._rota.is_time, steps):
                try:
                    if step.find(jobs, 1):
                        due.append(step)
                    else:
                        self._rota.found_nothing(step)
                except Exception as error:
                    if is_corrupt(error):
                        raise
                    failures[step.name] = error
            return due, jobs.next_due(), is_calm(db)

    def _take(
        self, steps: Sequence[Step], budget: int, failures: dict[str, Exception]
    ) -> Iterator[Done]:
        for step in steps:
            try:
                yield from in_batches(partial(self._take_batch, step), budget)
            except Exception as error:
                if is_corrupt(error):
                    raise
                failures[step.name] = error
                if isinstance(error, StoreBusyError):
                    # The other steps would wait just as long, while timeouts go unseen.
                    return

    def _take_batch(self, step: Step, batch: int) -> Done:
        # Found again where nobody else can change it meanwhile.
        return self._write(lambda jobs: step.do(jobs, step.find(jobs, batch)))

    def _steps(self, store: str, known: Mapping[str, str]) -> list[Step]:
        limits = self._limits
        return [
            Step("expire", _overdue, upkeep.expire),
            # Before the others, so that what this sweep moves is not hinted at twice.
            Step("rehint", _silent_queues, partial(_rehint, store)),
            Step("rescue", self._workers.abandoned, partial(upkeep.rescue, store)),
            Step("forget", self._dead_workers, self._forget_dead, every=TIDY_EVERY),
            Step("listeners", self._dead_listeners, self._forget_listeners, every=TIDY_EVERY),
            Step("stage", _due, partial(upkeep.stage, store)),
            Step("unpark", partial(_fitting, known), partial(upkeep.unpark, store)),
            Step("prune", partial(_outlived, limits), upkeep.delete),
            Step("cap", partial(_beyond_cap, limits), upkeep.delete, every=COUNT_EVERY),
            Step("recount", _miscount, _recount, every=COUNT_EVERY),
        ]

    def _dead_workers(self, jobs: Jobs, _: int) -> Sequence[Any]:
        return self._workers.dead(jobs.db)

    def _forget_dead(self, jobs: Jobs, _: Sequence[Any]) -> Done:
        self._workers.forget_dead(jobs.db)
        return Done()

    def _dead_listeners(self, jobs: Jobs, _: int) -> Sequence[str]:
        return self._wakeups.dead(jobs.db, to_micros(jobs.now))

    def _forget_listeners(self, jobs: Jobs, names: Sequence[str]) -> Done:
        self._wakeups.withdraw(jobs.db, names)
        return Done(len(names))


def _overdue(jobs: Jobs, limit: int) -> list[JobRecord]:
    return jobs.select(EXPIRED_BY, (to_micros(jobs.now), limit))


def _silent_queues(jobs: Jobs, limit: int) -> list[str]:
    """Return queues whose hints seem to be lost."""
    now = to_micros(jobs.now)
    before = now - _REHINT_AFTER
    hinted_at: dict[str, int] = dict(jobs.db.all(_HINTED))
    silent: list[str] = []
    for queue in runnable_queues(jobs.db):
        # One in the future: the system's clock was put back.
        if len(silent) < limit and not before < hinted_at.get(queue, before) <= now:
            silent += [queue] * len(jobs.db.all(_WAITS_LONG, (queue, before)))
    return silent


def _rehint(store: str, jobs: Jobs, queues: Sequence[str]) -> Done:
    """Return hints to *queues*. One process gets them."""
    hints: list[Hint] = []
    for queue in queues:
        jobs.db.execute(_NOTE_HINTED, (queue, to_micros(jobs.now)))
        rows = jobs.db.all(_RUNNABLE, (queue, MAX_REHINTS))
        hints += [Hint(store, queue, job_id, fence) for job_id, fence in rows]
    return Done(len(queues), hints)


def _due(jobs: Jobs, limit: int) -> list[JobRecord]:
    return jobs.select(DUE_BEFORE, (to_micros(jobs.now), limit))


def _fitting(known: Mapping[str, str], jobs: Jobs, limit: int) -> list[JobRecord]:
    """Return parked jobs whose task is known by another digest than the one they did not fit."""
    waiting: list[JobRecord] = []
    for (task,) in jobs.db.all(_PARKED_TASKS):
        if task in known:
            for condition in _PARKED_FOR_OTHERS:
                if len(waiting) < limit:
                    waiting += jobs.select(condition, (task, known[task], limit - len(waiting)))
    return waiting


def _past(jobs: Jobs, before: Mapping[JobState, datetime], limit: int) -> list[str]:
    """Return the jobs that ended by the time of their end in *before*, the oldest first."""
    past = [
        row
        for state, instant in before.items()
        if state in PAST
        for row in jobs.db.all(PAST[state], (to_micros(instant), limit))
    ]
    return [job_id for _, _, job_id in sorted(past)[:limit]]


def _outlived(limits: Limits, jobs: Jobs, limit: int) -> list[str]:
    """Return finished jobs past their time to live."""
    return _past(jobs, {state: jobs.now - keep for state, keep in limits.keep.items()}, limit)


def _beyond_cap(limits: Limits, jobs: Jobs, limit: int) -> list[str]:
    """Return the oldest of the finished jobs that are too many."""
    ((finished,),) = jobs.db.all(_FINISHED)
    excess = min(finished - limits.max_finished, limit)
    return _past(jobs, dict.fromkeys(FINISHED, jobs.now), excess) if excess > 0 else []


def _miscount(jobs: Jobs, _: int) -> list[int]:
    """Return by how much the number of those that wait is wrong, if it is."""
    return [more] if (more := jobs.miscounted) else []


def _recount(jobs: Jobs, _: Sequence[int]) -> Done:
    jobs.recount()
    return Done()


def discard(jobs: Jobs, states: Collection[JobState], before: datetime, limit: int) -> int:
    """Delete at most *limit* jobs that ended so at *before* or earlier, the oldest first."""
    old = _past(jobs, dict.fromkeys(states, before), limit)
    jobs.delete(old)
    return len(old)
