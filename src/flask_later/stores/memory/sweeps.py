"""What time alone brings about: at most *budget* rows of each kind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice, takewhile

from flask_later.core.job import JobRecord, JobState, hints_to
from flask_later.core.states import end_of, expired, resumed
from flask_later.core.store import MAX_REHINTS, REHINT_AFTER, Swept

from .jobs import Jobs
from .rows import Row


class Sweeper:
    """Does what is due, and remembers at which queues it has hinted.

    :param keep: how long a record is kept after its end, by state.
    """

    def __init__(self, jobs: Jobs, keep: Mapping[JobState, timedelta]) -> None:
        self._jobs = jobs
        self._keep = keep
        self._hinted_at: dict[str, datetime] = {}

    def sweep(self, store: str, budget: int, known: Mapping[str, str], now: datetime) -> Swept:
        """Do what is due in the store of that identity."""
        jobs = self._jobs
        over = [*_expire(jobs, now, budget)]
        # Before the others, so that what this sweep moves is not hinted at twice.
        rows = [row for queue in jobs.rows.queues for row in self._overdue(queue, now)]
        rows += [*_stage(jobs, now, budget), *_unpark(jobs, now, budget, known)]
        hints = hints_to(store, (row.record for row in rows))
        self._prune(now, budget)
        first = jobs.rows.next_due()
        return Swept(hints, None if first is None else first.record.run_at, expired=over)

    def _overdue(self, queue: str, now: datetime) -> list[Row]:
        """Return the runnable jobs of *queue* if their hints seem to be lost."""
        before = now - timedelta(seconds=REHINT_AFTER)
        hinted_at = self._hinted_at.get(queue, before)
        # One in the future: the system's clock was put back.
        if before < hinted_at <= now or self._jobs.runnable(queue) is None:
            return []
        rows = self._jobs.rows.ready(queue)
        if all(row.record.run_at > before for row in rows):
            return []
        self._hinted_at[queue] = now
        return rows[:MAX_REHINTS]

    def _prune(self, now: datetime, budget: int) -> None:
        keep = self._keep
        old = takewhile(
            lambda row: now - end_of(row.record) >= min(keep.values()), self._jobs.rows.ended()
        )
        over = (row for row in old if now - end_of(row.record) >= keep[row.record.state])
        self._jobs.drop_all(islice(over, budget))
        self._jobs.drop_surplus(now)


def _expire(jobs: Jobs, now: datetime, budget: int) -> Iterator[JobRecord]:
    for _ in range(budget):
        row = jobs.rows.next_expired(now)
        if row is None:
            return
        jobs.put(row, expired(row.record, now))
        yield row.record


def _stage(jobs: Jobs, now: datetime, budget: int) -> Iterator[Row]:
    for _ in range(budget):
        row = jobs.rows.next_due()
        if row is None or row.record.run_at > now:
            return
        jobs.put(row, row.record._replace(state=JobState.QUEUED))
        yield row


def _unpark(jobs: Jobs, now: datetime, budget: int, known: Mapping[str, str]) -> list[Row]:
    fitting = [
        row
        for row in jobs.rows.parked()
        if known.get(row.record.task, row.record.parked_for) != row.record.parked_for
    ]
    for row in fitting[:budget]:
        jobs.put(row, resumed(row.record, now))
    return fitting[:budget]


def discard(jobs: Jobs, states: Collection[JobState], before: datetime, limit: int) -> int:
    """Delete at most *limit* jobs that ended so at *before* or earlier, the oldest first."""
    old = takewhile(lambda row: end_of(row.record) <= before, jobs.rows.ended())
    return jobs.drop_all(islice((row for row in old if row.record.state in states), limit))
