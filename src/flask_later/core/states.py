"""The rules by which a job changes. Pure: every store applies them, so all stores mean the same.

The table they form is drawn in ``docs/design/states.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask_later.core.exchange import Again, Cancelled, Failed, Outcome, Parked, Released, Succeeded
from flask_later.core.job import (
    FINISHED,
    WAITING,
    Annotate,
    Cancel,
    Command,
    Discard,
    ErrorRecord,
    JobRecord,
    JobState,
    Progress,
    Resume,
    Retry,
    StopReason,
    UniqueUntil,
)
from flask_later.errors import InvalidTransitionError

#: A job whose worker died this many times is failed: it probably kills them.
MAX_CRASHES = 3
#: The type of the error of a job that was cancelled because it had expired.
EXPIRED = "JobExpired"

# Nearly every job is claimed and succeeds. These two changes are written by the places of fields:
# _replace() takes three times as long, and more than all else that a store in memory does.
_STATE, _FENCE, _ATTEMPTS, _WORKER, _STARTED_AT, _FINISHED_AT = map(
    JobRecord._fields.index,
    ("state", "fence", "attempts", "worker", "started_at", "finished_at"),
)
_RESULT, _ERROR, _STOP, _PROGRESS, _PROGRESS_AT, _PARKED_FOR = map(
    JobRecord._fields.index,
    ("result", "error", "stop", "progress", "progress_at", "parked_for"),
)

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
    if record.unique_until is UniqueUntil.GONE:
        return True
    if record.key_free_at is not None and now < record.key_free_at:
        return True
    if record.unique_until is UniqueUntil.STARTED:
        return record.state in WAITING and not has_begun(record)
    return record.state not in FINISHED


def end_of(record: JobRecord) -> datetime:
    """Return when a finished job ended, or its key is free, if that is later."""
    ended = record.finished_at or record.created_at
    return ended if record.key_free_at is None else max(ended, record.key_free_at)


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
    fields: list[Any] = [*record]
    fields[_STATE] = JobState.RUNNING
    fields[_FENCE] = record.fence + 1
    fields[_ATTEMPTS] = record.attempts + 1
    fields[_WORKER] = worker
    fields[_STARTED_AT] = now
    fields[_PROGRESS] = fields[_PROGRESS_AT] = fields[_PARKED_FOR] = None
    return JobRecord._make(fields)


def _succeeded(record: JobRecord, result: str, now: datetime) -> JobRecord:
    fields: list[Any] = [*record]
    fields[_STATE] = JobState.SUCCEEDED
    fields[_RESULT] = result
    fields[_FINISHED_AT] = now
    fields[_ERROR] = fields[_WORKER] = fields[_STOP] = None
    return JobRecord._make(fields)


def advanced(record: JobRecord, progress: Progress, now: datetime) -> JobRecord:
    """A job whose running attempt has come so far."""
    return record._replace(progress=progress, progress_at=now)


def settled_once(record: JobRecord | None, outcome: Outcome, now: datetime) -> JobRecord | None:
    """A job after *outcome*: as it is, if that attempt was settled before. None: it is stale."""
    if record is None or record.fence != outcome.claim.fence:
        return None
    return settled(record, outcome, now) if record.state is JobState.RUNNING else record


def settled(record: JobRecord, outcome: Outcome, now: datetime) -> JobRecord:
    """A running job after *outcome*, which carries its fence."""
    if isinstance(outcome, Succeeded):
        return _succeeded(record, outcome.result, now)
    match outcome:
        case Failed(_, error, taken, result):
            return _finished(
                record,
                JobState.FAILED,
                now,
                result=result,
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


def has_last_chance(record: JobRecord) -> bool:
    """Whether the job is failed if its worker dies once more.

    A worker runs one of those at a time, so that the one that kills takes no other along.
    """
    return record.crashes >= MAX_CRASHES - 1


def rescued_together(lost: Sequence[JobRecord], now: datetime) -> list[JobRecord]:
    """The running jobs of workers that died. Those that waited for their turn never began."""
    turns: dict[str | None, JobRecord] = {}
    for record in filter(has_last_chance, lost):
        first = turns.setdefault(record.worker, record)
        if (record.started_at or now) < (first.started_at or now):
            turns[record.worker] = record
    return [
        released(record, now, begun=False)
        if has_last_chance(record) and turns[record.worker] is not record
        else rescued(record, now)
        for record in lost
    ]


def has_crashed(before: JobRecord, after: JobRecord) -> bool:
    """Whether a rescue counts as a crash of the job; one that had not begun is only given back."""
    return after.crashes > before.crashes or after.state is not JobState.QUEUED


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
                result=None,
                error=None,
                finished_at=None,
                expires_at=None,
            )
        case Resume() if record.state in _RESUMABLE:
            return resumed(record, now)
        case Discard() if record.state in _DISCARDABLE:
            return record
        case Annotate(context, principal):
            return record._replace(context=context, principal=principal)
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
