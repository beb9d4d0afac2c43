"""Which jobs a worker gets: the best of their queues, found by the index job_ready alone."""

from __future__ import annotations

from collections.abc import Collection
from heapq import nsmallest
from itertools import chain
from operator import itemgetter

from flask_later.core.job import JobRecord
from flask_later.core.states import claimed, expired, is_expired, may_share
from flask_later.core.store import MAX_EXPIRED, MAX_PAGE, Want

from .connection import Connection
from .jobs import Jobs
from .rows import FIELDS, Row, to_record

# The order is that of the index to the letter, or SQLite would sort the backlog.
FRONT = f"""
    SELECT {", ".join(FIELDS)}, rank, seq FROM job
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


def runnable_queues(db: Connection) -> list[str]:
    """Return the queues that have something to hand out, by name."""
    return [queue for (queue,) in db.all(QUEUES)]


def best(db: Connection, want: Want) -> list[JobRecord]:
    """Return the jobs that *want* gets, in the order in which it gets them."""
    limit = min(want.limit, MAX_PAGE)
    if limit <= 0:
        return []
    rows: list[Row] = []
    for queues in _ranked(db, want):
        if len(rows) < limit:
            rows += _fronts(db, queues, limit - len(rows))
    return [to_record(row[:-2]) for row in rows]


def _ranked(db: Connection, want: Want) -> list[list[str]]:
    """Return the queues to hand out from; of those in one list, the best job comes first."""
    first = () if want.prefer is None else (want.prefer.queue,)
    if want.queues is None:
        runnable = runnable_queues(db)
        others = [queue for queue in runnable if queue not in first]
        return [[queue for queue in runnable if queue in first], others]
    paused = {queue for (queue,) in db.all(_PAUSED)}
    return [[queue] for queue in dict.fromkeys((*first, *want.queues)) if queue not in paused]


def hand_out(jobs: Jobs, worker: str, want: Want) -> tuple[list[JobRecord], list[JobRecord]]:
    """Give *worker* what it wants; return that, and the expired ones that lay before it."""
    taken: list[JobRecord] = []
    over: list[JobRecord] = []
    wanted = want
    while True:
        before = len(over)
        for record in best(jobs.db, wanted):
            if is_expired(record, jobs.now):
                if len(over) >= MAX_EXPIRED:
                    return taken, over
                over.append(jobs.save(record, expired(record, jobs.now)))
            elif taken and not may_share(taken[0], record):
                return taken, over
            else:
                taken.append(jobs.save(record, claimed(record, worker, jobs.now)))
        if len(over) == before:
            return taken, over
        wanted = want._replace(limit=want.limit - len(taken))


def _fronts(db: Connection, queues: Collection[str], limit: int) -> list[Row]:
    """Return the best rows of all *queues* together, in their order."""
    fronts = [db.all(FRONT, (queue, limit)) for queue in queues]
    if len(fronts) == 1:
        return fronts[0]
    return nsmallest(limit, chain.from_iterable(fronts), key=itemgetter(-2, -1))
