"""The rules by which a job changes. Pure: every store applies them, so all stores mean the same.

The table they form is drawn in ``docs/design/states.md``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_later.core.job import (
    FINISHED,
    WAITING,
    Cancel,
    Command,
    Discard,
    ErrorRecord,
    JobRecord,
    JobState,
    Resume,
    Retry,
    StopReason,
    UniqueUntil,
)
from flask_later.core.store import (
    MAX_CRASHES,
    Again,
    Cancelled,
    Failed,
    Outcome,
    Parked,
    Released,
    Succeeded,
)
from flask_later.errors import InvalidTransitionError

#: The type of the error of a job that was cancelled because it had expired.
EXPIRED = "JobExpired"

_RETRYABLE = frozenset({JobState.FAILED, JobState.CANCELLED})
_RESUMABLE = frozenset({JobState.PARKED, JobState.HELD})
_DISCARDABLE = FINISHED | {JobState.HELD}


def waiting_state(run_at: datetime, now: datetime) -> JobState:
    """Return where a job waits that may run at *run_at*."""
    return JobState.SCHEDULED if run_at > now else JobState.QUEUED


def has_begun(record: JobRecord) -> bool:
    """Whether an attempt of the job has begun that was not given back."""
    return record.attempts > 0


def holds_key(record: JobRecord, now: datetime) -> bool:
    """Whether the job keeps others away from its unique key."""
    if record.key_free_at is not None and now < record.key_free_at:
        return True
    if record.unique_until is UniqueUntil.STARTED:
        return record.state in WAITING and not has_begun(record)
    return record.state not in FINISHED


def is_expired(record: JobRecord, now: datetime) -> bool:
    """Whether a waiting job is not to be begun any more."""
    expires_at = record.expires_at
    return expires_at is not None and expires_at <= now and not has_begun(record)


def expired(record: JobRecord, now: datetime) -> JobRecord:
    """A waiting job that nobody has begun in time."""
    assert record.expires_at is not None, "it has a time to expire"
    expires_at = record.expires_at.isoformat(timespec="seconds")
    error = ErrorRecord(EXPIRED, f"No worker had begun the job by {expires_at}, when it expired.")
    return _finished(record, JobState.CANCELLED, now, error=error)


def may_share(first: JobRecord, other: JobRecord) -> bool:
    """Whether both may be handed out in one exchange.

    A job that has killed a worker comes alone, so that it does not take others along.
    """
    return not first.crashes and not other.crashes


def claimed(record: JobRecord, worker: str, now: datetime) -> JobRecord:
    """A queued job handed to *worker*."""
    return record._replace(
        state=JobState.RUNNING,
        fence=record.fence + 1,
        attempts=record.attempts + 1,
        worker=worker,
        started_at=now,
        progress=None,
        parked_for=None,
    )


def is_settled(record: JobRecord, fence: int) -> bool:
    """Whether the attempt *fence* was the job's last and has already been settled."""
    return record.fence == fence and record.state is not JobState.RUNNING


def settled(record: JobRecord, outcome: Outcome, now: datetime) -> JobRecord:
    """A running job after *outcome*, which carries its fence."""
    match outcome:
        case Succeeded(_, result):
            return _finished(record, JobState.SUCCEEDED, now, result=result, error=None)
        case Failed(_, error, taken):
            return _finished(
                record,
                JobState.FAILED,
                now,
                error=error,
                failures=record.failures + 1,
                fence=record.fence + taken,
            )
        case Cancelled():
            return _finished(record, JobState.CANCELLED, now)
        case Again(_, run_at, error, taken):
            return _waiting(
                record,
                run_at,
                now,
                error=error or record.error,
                failures=record.failures + (error is not None),
                fence=record.fence + taken,
            )
        case Released(_, begun):
            return released(record, now, begun=begun)
        case Parked() if record.stop is StopReason.CANCELLED:
            return _finished(record, JobState.CANCELLED, now)
        case Parked(_, error, signature):
            return record._replace(
                state=JobState.PARKED,
                worker=None,
                attempts=record.attempts - 1,
                error=error,
                parked_for=signature,
            )


def was_cancelled(record: JobRecord, outcome: Outcome) -> bool:
    """Whether *outcome* has left *record* cancelled, although it speaks of another attempt."""
    return record.state is JobState.CANCELLED and isinstance(outcome, Again | Released | Parked)


def released(record: JobRecord, now: datetime, *, begun: bool = True) -> JobRecord:
    """A running job whose attempt is given back. The fence moves: its thread may still write."""
    return _waiting(
        record,
        record.run_at,
        now,
        attempts=record.attempts - 1,
        releases=record.releases + begun,
        fence=record.fence + 1,
    )


def rescued(record: JobRecord, now: datetime) -> JobRecord:
    """A running job whose worker died. Crashes have a budget of their own."""
    crashes = record.crashes + 1
    fence = record.fence + 1
    if crashes < MAX_CRASHES:
        return _waiting(record, record.run_at, now, crashes=crashes, fence=fence)
    error = ErrorRecord(
        "WorkerDied",
        f"The worker died {crashes} times while it ran this job, which probably kills it: by its "
        f"use of memory, or in a library that is not Python. job.retry() runs it again.",
    )
    return _finished(record, JobState.FAILED, now, error=error, crashes=crashes, fence=fence)


def commanded(record: JobRecord, command: Command, now: datetime) -> JobRecord:
    """The job after a user's *command*.

    :raises InvalidTransitionError: if its state does not allow the command.
    """
    match command:
        case Cancel() if record.state is JobState.RUNNING:
            return record._replace(stop=StopReason.CANCELLED)
        case Cancel() if record.state in WAITING:
            return _finished(record, JobState.CANCELLED, now)
        case Retry() if record.state in _RETRYABLE:
            return _waiting(
                record,
                now,
                now,
                attempts=0,
                failures=0,
                crashes=0,
                releases=0,
                error=None,
                finished_at=None,
                expires_at=None,
            )
        case Resume() if record.state in _RESUMABLE:
            return resumed(record, now)
        case Discard() if record.state in _DISCARDABLE:
            return record
        case _:
            name = type(command).__name__.lower()
            raise InvalidTransitionError(record.id, record.state.value, name)


def resumed(record: JobRecord, now: datetime) -> JobRecord:
    """A parked or held job, waiting again."""
    return _waiting(record, record.run_at, now, error=None, parked_for=None)


def _waiting(record: JobRecord, run_at: datetime, now: datetime, **changes: Any) -> JobRecord:
    if record.stop is StopReason.CANCELLED and record.state is JobState.RUNNING:
        return _finished(record, JobState.CANCELLED, now, **changes)
    state = waiting_state(run_at, now)
    return record._replace(state=state, run_at=run_at, worker=None, stop=None, **changes)


def _finished(record: JobRecord, state: JobState, now: datetime, **changes: Any) -> JobRecord:
    return record._replace(state=state, finished_at=now, worker=None, stop=None, **changes)
