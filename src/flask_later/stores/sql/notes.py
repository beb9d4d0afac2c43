"""What a worker tells about the attempts it has in hand, and what it is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, delete, func, insert, select, update

from flask_later.core.exchange import Claim, Note
from flask_later.core.job import JobState, LogLine, StopReason
from flask_later.core.states import advanced, released
from flask_later.stores.beats import Beat, beat
from flask_later.stores.columns import from_micros, to_micros
from flask_later.stores.reading import within_page

from .jobs import Jobs
from .tables import job, log, state_is

_HELD = select(job.c.id, job.c.fence, job.c.left_out).where(
    job.c.worker == bindparam("worker"), state_is(JobState.RUNNING)
)
_LEAVE_OUT = (
    update(job)
    .where(job.c.id == bindparam("the_id"), job.c.fence == bindparam("the_fence"))
    .values(left_out=bindparam("since"))
)
_NAMED = select(job.c.id, job.c.fence, job.c.state, job.c.stop).where(
    job.c.id.in_(bindparam("ids", expanding=True))
)
_LAST_LINE = select(func.coalesce(func.max(log.c.id), 0)).where(log.c.job == bindparam("job"))
_ADD_LINES = insert(log)
_CUT_LOG = delete(log).where(log.c.job == bindparam("the_job"), log.c.id <= bindparam("last"))
_LINES = (
    select(log.c.id, log.c.at, log.c.message)
    .where(log.c.job == bindparam("job"), log.c.id > bindparam("after"))
    .order_by(log.c.id)
    .limit(bindparam("limit"))
)
#: Beyond any id; larger numbers do not fit into the databases'.
_LAST_ID = 2**62


def leaves_out(jobs: Jobs, worker: str, holding: Collection[Claim]) -> bool:
    """Whether *worker* holds other attempts than it says, or did so at its last beat."""
    return not _beat(jobs, worker, holding).changes_nothing


def release_left_out(jobs: Jobs, worker: str, holding: Collection[Claim]) -> None:
    """Release what the store believes *worker* holds, and its beats have left out for a while."""
    left_out, lost = _beat(jobs, worker, holding)
    for claim, since in left_out:
        _leave_out(jobs, claim, since)
    for claim in lost:
        _release(jobs, claim)


def _beat(jobs: Jobs, worker: str, holding: Collection[Claim]) -> Beat:
    believed = jobs.db.execute(_HELD, {"worker": worker}).all()
    return beat(believed, holding, to_micros(jobs.now))


def _leave_out(jobs: Jobs, claim: Claim, since: int | None) -> None:
    values = {"the_id": claim.job_id, "the_fence": claim.fence, "since": since}
    jobs.db.execute(_LEAVE_OUT, values)


def _release(jobs: Jobs, claim: Claim) -> None:
    record = jobs.load(claim.job_id, locked=True)
    # It may have been settled just now.
    if record is not None and (record.fence, record.state) == (claim.fence, JobState.RUNNING):
        jobs.save(record, released(record, jobs.now))


def keep(jobs: Jobs, note: Note, max_lines: int) -> None:
    """Keep the news of an attempt, unless it is lost."""
    record = jobs.load(note.claim.job_id, locked=True)
    if record is None or record.fence != note.claim.fence:
        return
    if note.progress is not None:
        jobs.save(record, advanced(record, note.progress, jobs.now))
    if note.lines:
        _append(jobs, record.id, note.lines, max_lines)


def stop_reasons(jobs: Jobs, holding: Collection[Claim]) -> dict[Claim, StopReason]:
    """Return why attempts should stop; those that should not are left out."""
    if not holding:
        return {}
    rows = jobs.db.execute(_NAMED, {"ids": [claim.job_id for claim in holding]})
    known = {Claim(job_id, fence): (state, stop) for job_id, fence, state, stop in rows}
    reasons = {claim: _stop_reason(*known.get(claim, ("", None))) for claim in holding}
    return {claim: reason for claim, reason in reasons.items() if reason is not None}


def _stop_reason(state: str, stop: str | None) -> StopReason | None:
    if state != JobState.RUNNING:
        return StopReason.LOST
    return None if stop is None else StopReason(stop)


def read_log(jobs: Jobs, job_id: str, after: int, limit: int) -> list[LogLine]:
    """Return the lines with an id above *after*, oldest first."""
    values = {
        "job": job_id,
        "after": max(0, min(after, _LAST_ID)),
        "limit": within_page(limit),
    }
    rows = jobs.db.execute(_LINES, values)
    return [LogLine(line_id, from_micros(at), message) for line_id, at, message in rows]


def _append(jobs: Jobs, job_id: str, lines: Sequence[str], max_lines: int) -> None:
    last = int(jobs.db.execute(_LAST_LINE, {"job": job_id}).scalar_one())
    newest = last + len(lines)
    at = to_micros(jobs.now)
    rows = [
        {"job": job_id, "id": line_id, "at": at, "message": line}
        for line_id, line in enumerate(lines, last + 1)
        if line_id > newest - max_lines
    ]
    jobs.db.execute(_ADD_LINES, rows)
    if newest > max_lines:
        jobs.db.execute(_CUT_LOG, {"the_job": job_id, "last": newest - max_lines})
