"""What a worker tells about the attempts it has in hand, and what it is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flask_later.core.job import JobState, LogLine, StopReason
from flask_later.core.states import released
from flask_later.core.store import BEAT, MAX_PAGE, Claim, Note

from .connection import Connection
from .jobs import Jobs
from .rows import from_micros, to_micros

#: Microseconds for which beats may leave out an attempt.
_LEFT_OUT = int(BEAT * 1e6)

_HELD = "SELECT id, fence, left_out FROM job WHERE state = 'running' AND worker = ?"
_LEAVE_OUT = "UPDATE job SET left_out = ? WHERE id = ? AND fence = ?"
_LAST_LINE = "SELECT max(id) FROM log WHERE job = ?"
_ADD_LINE = "INSERT INTO log (job, id, at, message) VALUES (?, ?, ?, ?)"
_CUT_LOG = "DELETE FROM log WHERE job = ? AND id <= ?"
_LINES = "SELECT id, at, message FROM log WHERE job = ? AND id > ? ORDER BY id LIMIT ?"
#: Beyond any id; larger numbers do not fit into SQLite's.
_LAST_ID = 2**62


def leaves_out(jobs: Jobs, worker: str, holding: Collection[Claim]) -> bool:
    """Whether *worker* holds other attempts than it says, or did so at its last beat."""
    held = set(holding)
    return any(
        since is not None or Claim(job_id, fence) not in held
        for job_id, fence, since in jobs.db.all(_HELD, (worker,))
    )


def release_left_out(jobs: Jobs, worker: str, holding: Collection[Claim]) -> None:
    """Release what the store believes *worker* holds, and its beats have left out for a while."""
    held = set(holding)
    now = to_micros(jobs.now)
    for job_id, fence, since in jobs.db.all(_HELD, (worker,)):
        if Claim(job_id, fence) in held:
            if since is not None:
                jobs.db.execute(_LEAVE_OUT, (None, job_id, fence))
        elif since is None:
            # This beat may have been on its way while the job was claimed.
            jobs.db.execute(_LEAVE_OUT, (now, job_id, fence))
        elif now - since >= _LEFT_OUT:
            _release(jobs, job_id)


def _release(jobs: Jobs, job_id: str) -> None:
    record = jobs.load(job_id)
    assert record is not None, "found in this transaction"
    jobs.save(record, released(record, jobs.now))


def keep(jobs: Jobs, note: Note, max_lines: int) -> None:
    """Keep the news of an attempt, unless it is lost."""
    record = jobs.load(note.claim.job_id)
    if record is None or record.fence != note.claim.fence:
        return
    if note.progress is not None:
        jobs.save(record, record._replace(progress=note.progress))
    if note.lines:
        _append(jobs, record.id, note.lines, max_lines)


def stop_reasons(jobs: Jobs, holding: Collection[Claim]) -> dict[Claim, StopReason]:
    """Return why attempts should stop; those that should not are left out."""
    reasons = {claim: _stop_reason(jobs, claim) for claim in holding}
    return {claim: reason for claim, reason in reasons.items() if reason is not None}


def _stop_reason(jobs: Jobs, claim: Claim) -> StopReason | None:
    record = jobs.load(claim.job_id)
    if record is None or record.fence != claim.fence:
        return StopReason.LOST
    return record.stop if record.state is JobState.RUNNING else StopReason.LOST


def read_log(db: Connection, job_id: str, after: int, limit: int) -> list[LogLine]:
    """Return the lines with an id above *after*, oldest first."""
    values = (job_id, max(0, min(after, _LAST_ID)), max(1, min(limit, MAX_PAGE)))
    rows = db.all(_LINES, values)
    return [LogLine(line_id, from_micros(at), message) for line_id, at, message in rows]


def _append(jobs: Jobs, job_id: str, lines: Sequence[str], max_lines: int) -> None:
    ((last,),) = jobs.db.all(_LAST_LINE, (job_id,))
    newest = (last or 0) + len(lines)
    at = to_micros(jobs.now)
    for line_id, line in enumerate(lines, newest - len(lines) + 1):
        if line_id > newest - max_lines:
            jobs.db.execute(_ADD_LINE, (job_id, line_id, at, line))
    jobs.db.execute(_CUT_LOG, (job_id, newest - max_lines))
