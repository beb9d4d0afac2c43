"""Job records for tests."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from flask_later.core.job import (
    ErrorRecord,
    JobRecord,
    JobState,
    Progress,
    StopReason,
    UniqueUntil,
)
from flask_later.core.states import waiting_state

#: When the records of :func:`make_record` are made, and the clock of the store contract starts.
START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def make_record(*, at: datetime = START, delay: float = 0.0, **changes: Any) -> JobRecord:
    """Return a record as an enqueue would make it *at* that instant, with *changes* to its fields.

    :param delay: seconds until it may run; with any, the record is scheduled.
    """
    run_at = at + timedelta(seconds=delay)
    record = JobRecord(
        id=secrets.token_hex(16),
        task="shop.tasks.send",
        queue="default",
        payload='{"args":[],"kwargs":{}}',
        state=waiting_state(run_at, at),
        created_at=at,
        run_at=run_at,
    )
    return record._replace(**changes)


def make_full_record(**changes: Any) -> JobRecord:
    """Return a record in which no field has its default, to see that none is lost on the way."""
    record = JobRecord(
        id=secrets.token_hex(16),
        task="shop.tasks.send",
        queue="mail",
        payload='{"args":["é","\\ud800"]}',
        state=JobState.FAILED,
        created_at=START,
        run_at=START + timedelta(microseconds=1),
        priority=-7,
        context='{"tenant":"zoë"}',
        timeout=2.5,
        unique_key="order-17",
        fence=11,
        attempts=5,
        failures=4,
        crashes=2,
        releases=3,
        worker="worker-9",
        started_at=START + timedelta(seconds=1, microseconds=999_999),
        finished_at=START + timedelta(days=1),
        stop=StopReason.CANCELLED,
        result='{"rows":12}',
        error=ErrorRecord("ValueError", "no", "Traceback ...", public=True),
        progress=Progress(3.5, 12.0, "half"),
        parked_for="a1b2c3",
        scheduled_at=START - timedelta(hours=1),
        schedule="digest",
        unique_until=UniqueUntil.STARTED,
        key_free_at=START + timedelta(hours=2),
        expires_at=START + timedelta(hours=3),
        progress_at=START + timedelta(hours=4),
        principal="zoë",
    )
    return record._replace(**changes)
