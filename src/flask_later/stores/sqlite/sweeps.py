"""What time alone brings about: at most *budget* rows of each kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from flask_later.core.job import Hint, JobRecord, JobState
from flask_later.core.states import rescued, resumed
from flask_later.core.store import MAX_REHINTS, REHINT_AFTER, Limits

from .claims import runnable_queues
from .jobs import DUE_BEFORE, Jobs
from .rows import to_micros
from .workers import Workers

_REHINT_AFTER = int(REHINT_AFTER * 1e6)
_HINTED = "SELECT queue, at FROM hinted"
_NOTE_HINTED = "INSERT OR REPLACE INTO hinted (queue, at) VALUES (?, ?)"
# By priority the oldest may be anywhere in the queue, mostly it is near the front.
_WAITS_LONG = "SELECT 1 FROM job WHERE state = 'queued' AND queue = ? AND run_at <= ? LIMIT 1"
_RUNNABLE = (
    "SELECT id, fence FROM job WHERE state = 'queued' AND queue = ? ORDER BY rank, seq LIMIT ?"
)

# From the index alone: of thousands of parked jobs there are few kinds.
_PARKED_KINDS = "SELECT DISTINCT task, parked_for FROM job WHERE state = 'parked'"
_PARKED = "WHERE state = 'parked' AND task = ? AND parked_for IS ? ORDER BY seq LIMIT ?"

# The condition and the expression are those of the index job_finished, to the letter, or SQLite
# does not see that it may use it.
_IS_FINISHED = "state IN ('succeeded', 'failed', 'cancelled')"
_ENDED = "max(finished_at, ifnull(key_free_at, 0))"
_PAST = (
    f"SELECT id FROM job WHERE {_IS_FINISHED} AND state = ? AND {_ENDED} <= ? "
    f"ORDER BY {_ENDED}, seq LIMIT ?"
)
# States are words of ours, so they may stand in the statement.
_ENDED_BEFORE = (
    f"SELECT id FROM job WHERE {_IS_FINISHED} AND state IN (%s) AND {_ENDED} <= ? "
    f"ORDER BY {_ENDED}, seq LIMIT ?"
)
_FINISHED = f"SELECT count(*) FROM job WHERE {_IS_FINISHED}"
_OLDEST = (
    f"SELECT id FROM job WHERE {_IS_FINISHED} AND {_ENDED} <= ? ORDER BY {_ENDED}, seq LIMIT ?"
)


def rehint(jobs: Jobs, store: str) -> list[Hint]:
    """Return hints to the queues of *store* whose hints seem to be lost. One process gets them."""
    now = to_micros(jobs.now)
    before = now - _REHINT_AFTER
    hinted_at: dict[str, int] = dict(jobs.db.all(_HINTED))
    hints: list[Hint] = []
    for queue in runnable_queues(jobs.db):
        # One in the future: the system's clock was put back.
        if before < hinted_at.get(queue, before) <= now:
            continue
        if jobs.db.one(_WAITS_LONG, (queue, before)):
            jobs.db.execute(_NOTE_HINTED, (queue, now))
            rows = jobs.db.all(_RUNNABLE, (queue, MAX_REHINTS))
            hints += [Hint(store, queue, job_id, fence) for job_id, fence in rows]
    return hints


def rescue(jobs: Jobs, workers: Workers, budget: int) -> list[JobRecord]:
    """Take the attempts of dead workers from them."""
    lost = workers.abandoned(jobs, budget)
    workers.forget_dead(jobs.db)
    return [jobs.save(record, rescued(record, jobs.now)) for record in lost]


def stage(jobs: Jobs, budget: int) -> list[JobRecord]:
    """Queue what has fallen due."""
    return [
        jobs.save(record, record._replace(state=JobState.QUEUED))
        for record in jobs.select(DUE_BEFORE, (to_micros(jobs.now), budget))
    ]


def unpark(jobs: Jobs, known: Mapping[str, str], budget: int) -> list[JobRecord]:
    """Queue parked jobs whose task is known by another digest than the one they did not fit."""
    waiting: list[JobRecord] = []
    for task, digest in jobs.db.all(_PARKED_KINDS):
        if known.get(task, digest) != digest and len(waiting) < budget:
            waiting += jobs.select(_PARKED, (task, digest, budget - len(waiting)))
    return [jobs.save(record, resumed(record, jobs.now)) for record in waiting]


def prune(jobs: Jobs, limits: Limits, budget: int) -> None:
    """Delete finished jobs past their time to live, then the oldest beyond the cap."""
    for state, keep in limits.keep.items():
        past = jobs.db.all(_PAST, (state.value, to_micros(jobs.now - keep), budget))
        jobs.delete(job_id for (job_id,) in past)
    ((finished,),) = jobs.db.all(_FINISHED)
    if finished > limits.max_finished:
        excess = min(finished - limits.max_finished, budget)
        oldest = jobs.db.all(_OLDEST, (to_micros(jobs.now), excess))
        jobs.delete(job_id for (job_id,) in oldest)


def discard(jobs: Jobs, states: Collection[JobState], before: datetime, limit: int) -> int:
    """Delete at most *limit* jobs that ended so at *before* or earlier, the oldest first."""
    words = ", ".join(f"'{state.value}'" for state in sorted(states))
    old = jobs.db.all(_ENDED_BEFORE % words, (to_micros(before), limit))
    jobs.delete(job_id for (job_id,) in old)
    return len(old)
