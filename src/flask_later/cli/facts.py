"""What JSON says about a job, a queue and a worker. Names are those of the records."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from flask_later.core.job import ErrorRecord, JobRecord, JobState, Progress
from flask_later.core.store import QueueStats, WorkerRecord

from .answers import instant

#: What the app's users have entrusted to it; shown when asked for.
_PRIVATE = ("payload", "context", "result")


def about_job(record: JobRecord, *, payload: bool = False) -> dict[str, Any]:
    """Return all facts of a job; arguments, context and result only with *payload*."""
    facts = {
        name: _plain(value) for name, value in record._asdict().items() if name not in _PRIVATE
    }
    if payload:
        facts |= {name: _loaded(getattr(record, name)) for name in _PRIVATE}
    return facts


def about_queue(stats: QueueStats, workers: int, *, unserved: bool) -> dict[str, Any]:
    """Return all facts of a queue, from which *workers* take."""
    return {
        "name": stats.name,
        "paused": stats.paused,
        "workers": workers,
        "unserved": unserved,
        "oldest_run_at": instant(stats.oldest_run_at),
        "counts": {state.value: stats.counts.get(state, 0) for state in JobState},
    }


def about_worker(worker: WorkerRecord) -> dict[str, Any]:
    """Return all facts of a worker."""
    queues = None if worker.queues is None else [*worker.queues]
    return {**worker._asdict(), "started_at": instant(worker.started_at), "queues": queues}


def count(stats: Collection[QueueStats], state: JobState) -> int:
    """Return how many jobs of all queues are in *state*."""
    return sum(queue.counts.get(state, 0) for queue in stats)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ErrorRecord | Progress):
        return value._asdict()
    return value


def _loaded(text: str | None) -> Any:
    """Return what JSON text says; text that is none is shown as it is."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
