"""A job record as a row, with the columns by which it is found."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_later.core.job import FINISHED, SECONDS_PER_PRIORITY, WAITING, JobRecord, JobState
from flask_later.core.places import takes_place
from flask_later.core.states import end_of, has_begun
from flask_later.stores.columns import FIELDS, packed, to_micros

_RANK_PER_PRIORITY = int(SECONDS_PER_PRIORITY * 1e6)
#: The columns that are written for a new job.
ROW = (*FIELDS, "rank", "turn_at", "expiring_at", "pending_of")


def to_row(record: JobRecord) -> dict[str, Any]:
    """Return *record* as it is stored, by column."""
    return {**dict(zip(FIELDS, map(packed, FIELDS, record), strict=True)), **_derived(record)}


def changes(before: JobRecord, after: JobRecord) -> dict[str, Any]:
    """Return the columns in which *after* is another value, and what they are then."""
    changed = {
        name: packed(name, new)
        for name, old, new in zip(FIELDS, before, after, strict=True)
        if old is not new
    }
    old_places = _derived(before)
    changed.update((k, v) for k, v in _derived(after).items() if old_places[k] != v)
    if "state" in changed:
        # What no longer runs is held by nobody, so nobody leaves it out.
        changed["left_out"] = None
    return changed


def _derived(record: JobRecord) -> dict[str, Any]:
    """Return the columns by which a job is found, which follow from the others."""
    expires = record.expires_at is not None and record.state in WAITING and not has_begun(record)
    turn_at = turn_of(record)
    return {
        "rank": to_micros(record.run_at) - record.priority * _RANK_PER_PRIORITY,
        "turn_at": None if turn_at is None else to_micros(turn_at),
        "expiring_at": to_micros(record.expires_at) if expires and record.expires_at else None,
        "pending_of": record.principal if takes_place(record) else None,
    }


def turn_of(record: JobRecord) -> datetime | None:
    """Return when time moves the job on: it falls due, or its time to live begins."""
    if record.state is JobState.SCHEDULED:
        return record.run_at
    return end_of(record) if record.state in FINISHED else None
