"""Which jobs a worker gets: the best of their queues, found by the index job_ready alone."""

from __future__ import annotations

from collections.abc import Collection
from heapq import nsmallest
from itertools import chain

from flask_later.core.job import JobRecord
from flask_later.core.states import claimed, expired, is_expired
from flask_later.core.store import MAX_EXPIRED, MAX_PAGE, Want

from .connection import Connection
from .jobs import Jobs

FRONT = """
    SELECT rank, seq, id FROM job
    WHERE state = 'queued' AND queue = ?
    ORDER BY rank, seq LIMIT ?
"""
# From one queue to the next by the index; DISTINCT would read every job that waits.
QUEUES = """
    WITH RECURSIVE ready (queue) AS (
        SELECT min(queue) FROM job WHERE state = 'queued'
        UNION ALL
        SELECT (SELECT min(queue) FROM job WHERE state = 'queued' AND queue > ready.queue)
        FROM ready WHERE ready.queue IS NOT NULL
    )
    SELECT queue FROM ready
    WHERE queue IS NOT NULL AND queue NOT IN (SELECT queue FROM paused)
"""
_PAUSED = "SELECT queue FROM paused"

#: A job at the front of its queue: its rank, the order in which it was stored, its id.
_Place = tuple[float, int, str]


def runnable_queues(db: Connection) -> list[str]:
    """Return the queues that have something to hand out, by name."""
    return [queue for (queue,) in db.all(QUEUES)]


def best(db: Connection, want: Want) -> list[str]:
    """Return the ids of the jobs that *want* gets, in the order in which it gets them."""
    limit = min(want.limit, MAX_PAGE)
    if limit <= 0:
        return []
    paused = {queue for (queue,) in db.all(_PAUSED)}
    places: list[_Place] = []
    if want.prefer is not None:
        places = _fronts(db, {want.prefer.queue} - paused, limit)
        paused.add(want.prefer.queue)
    if len(places) < limit and want.queues is None:
        others = set(runnable_queues(db)) - paused
        places += _fronts(db, others, limit - len(places))
    for queue in dict.fromkeys(want.queues or ()):
        if len(places) < limit and queue not in paused:
            places += _fronts(db, {queue}, limit - len(places))
    return [job_id for _, _, job_id in places]


def hand_out(jobs: Jobs, worker: str, want: Want) -> tuple[list[JobRecord], list[JobRecord]]:
    """Give *worker* what it wants; return that, and the expired ones that lay before it."""
    taken: list[JobRecord] = []
    over: list[JobRecord] = []
    wanted = want
    while True:
        before = len(over)
        for job_id in best(jobs.db, wanted):
            record = jobs.load(job_id)
            assert record is not None, "found in this transaction"
            if not is_expired(record, jobs.now):
                taken.append(jobs.save(record, claimed(record, worker, jobs.now)))
            elif len(over) < MAX_EXPIRED:
                over.append(jobs.save(record, expired(record, jobs.now)))
            else:
                return taken, over
        if len(over) == before:
            return taken, over
        wanted = want._replace(limit=want.limit - len(taken))


def _fronts(db: Connection, queues: Collection[str], limit: int) -> list[_Place]:
    """Return the best places of all *queues* together, in their order."""
    rows = chain.from_iterable(db.all(FRONT, (queue, limit)) for queue in queues)
    return nsmallest(limit, ((rank, seq, job_id) for rank, seq, job_id in rows))
