"""Reading for people: pages of jobs, and what each queue holds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

from flask_later.core.job import Glance, JobState
from flask_later.core.store import JobFilter, Page, QueueStats
from flask_later.stores.columns import GLANCED, from_micros, to_glance, to_record, to_state
from flask_later.stores.reading import row_of, stats_of, within_page

from .jobs import SELECT, Jobs
from .tables import job, queue, schedule

_COUNTS = select(job.c.queue, job.c.state, func.count(), func.min(job.c.run_at)).group_by(
    job.c.queue, job.c.state
)
_GLANCE = select(*(job.c[name] for name in GLANCED)).where(job.c.id == bindparam("id"))
_PAUSED = select(queue.c.name).where(queue.c.paused == 1)
_SCHEDULES = select(schedule.c.name, schedule.c.last_due)
_PAGE = SELECT.order_by(job.c.seq.desc()).limit(bindparam("limit"))


def glance(jobs: Jobs, job_id: str) -> Glance | None:
    """Return how the job is, if there is one."""
    row = jobs.db.execute(_GLANCE, {"id": job_id}).first()
    return None if row is None else to_glance(row)


def find(jobs: Jobs, wanted: JobFilter, after: str | None, limit: int) -> Page:
    """Return a page of matching jobs, newest first."""
    conditions = _conditions(wanted)
    if after is not None:
        conditions.append(job.c.seq < row_of(after))
    limit = within_page(limit)
    rows = jobs.db.execute(_PAGE.where(*conditions), {"limit": limit + 1}).all()
    cursor = str(rows[limit - 1][-1]) if len(rows) > limit else None
    return Page([to_record(row) for row in rows[:limit]], cursor)


def stats(jobs: Jobs) -> list[QueueStats]:
    """Return every queue that has jobs or is paused, by name."""
    paused = jobs.db.execute(_PAUSED).scalars().all()
    counts = jobs.db.execute(_COUNTS)
    return stats_of(
        ((name, to_state(text), number, from_micros(at)) for name, text, number, at in counts),
        paused,
    )


def schedules(jobs: Jobs) -> dict[str, Any]:
    """Return when each schedule was last due."""
    return {name: from_micros(due) for name, due in jobs.db.execute(_SCHEDULES)}


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.states is not None:
        conditions.append(job.c.state.in_(_words(wanted.states)))
    if wanted.task is not None:
        conditions.append(job.c.task == wanted.task)
    if wanted.queue is not None:
        conditions.append(job.c.queue == wanted.queue)
    return conditions


def _words(states: Collection[JobState]) -> list[str]:
    return sorted(state.value for state in states)
