"""Reading for people: pages of jobs, and what each queue holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from flask_later.core.job import Glance, JobRecord
from flask_later.core.store import JobFilter, Page, QueueStats
from flask_later.stores.columns import FIELDS, from_micros, to_glance, to_record, to_state
from flask_later.stores.reading import row_of, stats_of, within_page

from .connection import Connection
from .jobs import GLANCE, SELECT

_ROWS = f"SELECT {', '.join(FIELDS)}, seq FROM job "
_COUNTS = "SELECT queue, state, count(*), min(run_at) FROM job GROUP BY queue, state"
_IDS = "SELECT id FROM job WHERE id IN "
_PAUSED = "SELECT queue FROM paused"
#: SQLite 3.31 takes at most 999 values in a statement.
_AT_ONCE = 500


def get(db: Connection, job_ids: Sequence[str]) -> dict[str, JobRecord]:
    """Return the jobs that exist, in the order of *job_ids*."""
    found: dict[str, JobRecord] = {}
    for first in range(0, len(job_ids), _AT_ONCE):
        some = job_ids[first : first + _AT_ONCE]
        for row in db.all(SELECT + f"WHERE id IN ({_marks(some)})", some):
            record = to_record(row)
            found[record.id] = record
    return {job_id: found[job_id] for job_id in job_ids if job_id in found}


def glance(db: Connection, job_id: str) -> Glance | None:
    """Return how the job is, if there is one."""
    row = db.look(GLANCE, (job_id,))
    return None if row is None else to_glance(row)


def existing(db: Connection, job_ids: Collection[str]) -> set[str]:
    """Return those of *job_ids* that are the ids of jobs."""
    wanted = sorted(job_ids)
    found: set[str] = set()
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        found.update(job_id for (job_id,) in db.all(_IDS + f"({_marks(some)})", some))
    return found


def find(db: Connection, wanted: JobFilter, after: str | None, limit: int) -> Page:
    """Return a page of matching jobs, newest first."""
    conditions, values = _conditions(wanted)
    if after is not None:
        conditions.append("seq < ?")
        values.append(row_of(after))
    limit = within_page(limit)
    where = " AND ".join(["1", *conditions])
    rows = db.all(_ROWS + f"WHERE {where} ORDER BY seq DESC LIMIT ?", [*values, limit + 1])
    cursor = str(rows[limit - 1][-1]) if len(rows) > limit else None
    return Page([to_record(row[:-1]) for row in rows[:limit]], cursor)


def stats(db: Connection) -> list[QueueStats]:
    """Return every queue that has jobs or is paused, by name."""
    paused = {queue for (queue,) in db.all(_PAUSED)}
    counts = db.all(_COUNTS)
    return stats_of(
        ((queue, to_state(text), number, from_micros(at)) for queue, text, number, at in counts),
        paused,
    )


def _conditions(wanted: JobFilter) -> tuple[list[str], list[Any]]:
    """Return conditions without values, and their values."""
    conditions: list[str] = []
    values: list[Any] = []
    if wanted.states is not None:
        states = sorted(wanted.states)
        conditions.append(f"state IN ({_marks(states)})")
        values += [state.value for state in states]
    if wanted.task is not None:
        conditions.append("task = ?")
        values.append(wanted.task)
    if wanted.queue is not None:
        conditions.append("queue = ?")
        values.append(wanted.queue)
    return conditions, values


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
