"""Which jobs a worker gets: the best of their queues, found by the index job_ready alone."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from heapq import nsmallest
from itertools import chain
from operator import itemgetter

from flask_later.core.exchange import Want
from flask_later.core.job import JobRecord
from flask_later.core.states import claimed, expired, is_expired, may_share
from flask_later.core.store import MAX_EXPIRED, MAX_PAGE
from flask_later.stores.columns import FIELDS, to_record

from .connection import Connection
from .jobs import Held, Jobs
from .rows import Row

# The order is that of the index to the letter, or SQLite would sort the backlog.
FRONT = f"""
    SELECT {", ".join(FIELDS)}, rank, seq FROM job
    WHERE state = 'queued' AND queue = ?
    ORDER BY rank, seq LIMIT ?
"""
# From one queue to the next by the index; DISTINCT would read every job that waits. As one
# recursive query it would take as long, and a table in memory of 90 KB in each thread that asks.
_READY = "FROM job WHERE state = 'queued'"
#: The first and the last, which mostly are the same; and whether any is paused.
ENDS = f"""
    SELECT (SELECT min(queue) {_READY}), (SELECT max(queue) {_READY}),
        EXISTS (SELECT 1 FROM paused)
"""
NEXT_QUEUE = f"SELECT min(queue) {_READY} AND queue > ?"
_PAUSED = "SELECT queue FROM paused"
_FENCE, _ATTEMPTS, _CRASHES, _EXPIRES_AT = map(
    FIELDS.index, ("fence", "attempts", "crashes", "expires_at")
)


def runnable_queues(db: Connection) -> list[str]:
    """Return the queues that have something to hand out, by name."""
    ((queue, last, any_paused),) = db.all(ENDS)
    queues = [] if queue is None else [queue]
    while queue != last:
        ((queue,),) = db.all(NEXT_QUEUE, (queue,))
        queues.append(queue)
    paused = _paused(db) if any_paused else ()
    return [queue for queue in queues if queue not in paused]


def _paused(db: Connection) -> set[str]:
    return {queue for (queue,) in db.all(_PAUSED)}


def best(db: Connection, want: Want) -> list[Row]:
    """Return the rows of :data:`FRONT` that *want* gets, in the order in which it gets them."""
    limit = min(want.limit, MAX_PAGE)
    if limit <= 0:
        return []
    rows: list[Row] = []
    for queues in _ranked(db, want):
        if len(rows) < limit:
            rows += _fronts(db, queues, limit - len(rows))
    return rows


def _ranked(db: Connection, want: Want) -> list[list[str]]:
    """Return the queues to hand out from; of those in one list, the best job comes first."""
    first = () if want.prefer is None else (want.prefer.queue,)
    if want.queues is None:
        runnable = runnable_queues(db)
        others = [queue for queue in runnable if queue not in first]
        return [[queue for queue in runnable if queue in first], others]
    paused = _paused(db)
    return [[queue] for queue in dict.fromkeys((*first, *want.queues)) if queue not in paused]


def hand_out(jobs: Jobs, worker: str, want: Want) -> tuple[list[Row], list[JobRecord]]:
    """Give *worker* what it wants; return that, and the expired ones that lay before it.

    What it gets are rows, as they were before: they can be read after the commit.
    """
    taken: list[Row] = []
    over: list[JobRecord] = []
    goes_on = True
    while goes_on:
        goes_on = False
        fit: list[Row] = []
        for row in best(jobs.db, want._replace(limit=want.limit - len(taken))):
            if row[_EXPIRES_AT] is not None and is_expired(record := to_record(row), jobs.now):
                # It was in the place of another, for which to look again.
                goes_on = len(over) < MAX_EXPIRED
                if not goes_on:
                    break
                over.append(jobs.save(record, expired(record, jobs.now)))
                continue
            first = next(chain(taken, fit), None)
            if first is not None and not _may_share(first, row):
                goes_on = False
                break
            fit.append(row)
        jobs.hold([(row[-1], row[_FENCE], row[_ATTEMPTS]) for row in fit], worker)
        taken += fit
    return taken, over


def to_held(row: Row, worker: str, now: datetime) -> Held:
    """Return the attempt as which *worker* has got the job of *row* in a transaction of then."""
    return Held(claimed(to_record(row), worker, now), row[-1])


def _may_share(first: Row, other: Row) -> bool:
    if not first[_CRASHES] and not other[_CRASHES]:
        return True
    return may_share(to_record(first), to_record(other))


def _fronts(db: Connection, queues: Collection[str], limit: int) -> list[Row]:
    """Return the best rows of all *queues* together, in their order."""
    fronts = [db.all(FRONT, (queue, limit)) for queue in queues]
    if len(fronts) == 1:
        return fronts[0]
    return nsmallest(limit, chain.from_iterable(fronts), key=itemgetter(-2, -1))
