"""What a worker tells about the attempts it has in hand, and what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from datetime import datetime

from flask_later.core.exchange import Claim, Note
from flask_later.core.job import JobState, LogLine, StopReason
from flask_later.core.states import advanced, released
from flask_later.core.store import BEAT

from .jobs import Jobs


class Notes:
    """The news of attempts, and which of them nobody names any more."""

    def __init__(self, jobs: Jobs, max_log_lines: int) -> None:
        self._jobs = jobs
        self._max_log_lines = max_log_lines
        #: Since when a worker's beats have not named an attempt that it should hold.
        self._left_out: dict[str, dict[Claim, datetime]] = {}
        self._logs: dict[str, deque[LogLine]] = {}

    def release_left_out(self, worker: str, holding: Collection[Claim], now: datetime) -> None:
        """Release what *worker* should hold, and its beats have left out for a while."""
        left_out = {
            claim: row
            for row in self._jobs.rows.running(worker)
            if (claim := Claim(row.record.id, row.record.fence)) not in holding
        }
        before = self._left_out.get(worker, {})
        since = {claim: before.get(claim, now) for claim in left_out}
        for claim, first in since.items():
            if (now - first).total_seconds() >= BEAT:
                self._jobs.put(left_out[claim], released(left_out[claim].record, now))
        self._left_out[worker] = since

    def keep(self, note: Note, now: datetime) -> None:
        """Keep the news of an attempt, unless it is lost."""
        row = self._jobs.rows.get(note.claim.job_id)
        if row is None or row.record.fence != note.claim.fence:
            return
        if note.progress is not None:
            row.record = advanced(row.record, note.progress, now)
        if note.lines:
            log = self._logs.setdefault(row.record.id, deque(maxlen=self._max_log_lines))
            for line in note.lines:
                log.append(LogLine(log[-1].id + 1 if log else 1, now, line))

    def stop_reasons(self, holding: Collection[Claim]) -> dict[Claim, StopReason]:
        """Return why attempts should stop; those that should not are left out."""
        reasons = {claim: self._stop_reason(claim) for claim in holding}
        return {claim: reason for claim, reason in reasons.items() if reason is not None}

    def _stop_reason(self, claim: Claim) -> StopReason | None:
        row = self._jobs.rows.get(claim.job_id)
        if row is None or row.record.fence != claim.fence:
            return StopReason.LOST
        return row.record.stop if row.record.state is JobState.RUNNING else StopReason.LOST

    def log(self, job_id: str, after: int) -> list[LogLine]:
        """Return the lines with an id above *after*, oldest first."""
        return [line for line in self._logs.get(job_id, ()) if line.id > after]

    def forget_worker(self, worker: str) -> None:
        self._left_out.pop(worker, None)

    def forget_job(self, job_id: str) -> None:
        self._logs.pop(job_id, None)
