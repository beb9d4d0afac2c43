"""What a worker tells about the attempts it has in hand, and what it is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flask_later.core.exchange import Claim, Note
from flask_later.core.job import JobState, LogLine, StopReason
from flask_later.core.states import advanced, released
from flask_later.stores.beats import Beat, beat
from flask_later.stores.columns import from_micros, to_micros
from flask_later.stores.reading import within_page

from .connection import Connection
from .jobs import Jobs

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
    return not _beat(jobs, worker, holding).changes_nothing


def release_left_out(jobs: Jobs, worker: str, holding: Collection[Claim]) -> None:
    """Release what the store believes *worker* holds, and its beats have left out for a while."""
    left_out, lost = _beat(jobs, worker, holding)
    for claim, since in left_out:
        jobs.db.execute(_LEAVE_OUT, (since, *claim))
    for claim in lost:
        _release(jobs, claim.job_id)


def _beat(jobs: Jobs, worker: str, holding: Collection[Claim]) -> Beat:
    believed = jobs.db.all(_HELD, (worker,))
    return beat(believed, holding, to_micros(jobs.now))


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
        jobs.save(record, advanced(record, note.progress, jobs.now))
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
    values = (job_id, max(0, min(after, _LAST_ID)), within_page(limit))
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
