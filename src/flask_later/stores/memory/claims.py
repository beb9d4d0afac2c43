"""Which jobs a worker gets."""

from __future__ import annotations

from datetime import datetime

from flask_later.core.exchange import Want
from flask_later.core.job import JobRecord
from flask_later.core.states import claimed, expired, is_expired, may_share
from flask_later.core.store import MAX_EXPIRED

from .jobs import Jobs
from .rows import Place


def hand_out(
    jobs: Jobs, worker: str, want: Want, now: datetime
) -> tuple[list[JobRecord], list[JobRecord]]:
    """Give *worker* what it wants; return that, and the expired ones that lay before it."""
    taken: list[JobRecord] = []
    over: list[JobRecord] = []
    while len(taken) < want.limit and (place := _best(jobs, want)):
        row = place[2]
        if is_expired(row.record, now):
            if len(over) == MAX_EXPIRED:
                break
            jobs.put(row, expired(row.record, now))
            over.append(row.record)
        elif taken and not may_share(taken[0], row.record):
            break
        else:
            # Nobody waits for that.
            jobs.rows.put(row, claimed(row.record, worker, now))
            taken.append(row.record)
    return taken, over


def _best(jobs: Jobs, want: Want) -> Place | None:
    if want.prefer is not None and (place := jobs.runnable(want.prefer.queue)):
        return place
    if want.queues is not None:
        return next(filter(None, map(jobs.runnable, want.queues)), None)
    return min(filter(None, map(jobs.runnable, jobs.rows.queues)), default=None)
