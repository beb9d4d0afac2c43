"""Saying what became of jobs, once the store has it."""

from __future__ import annotations

from collections.abc import Sequence

from flask_later import signals
from flask_later.core.clock import Clock
from flask_later.core.exchange import (
    Again,
    Cancelled,
    Failed,
    Handover,
    Outcome,
    Parked,
    Released,
    Succeeded,
    never_began,
)
from flask_later.core.job import JobRecord, Progress
from flask_later.core.states import advanced, settled
from flask_later.runtime.execution import Ended

_SIGNALS = {
    Succeeded: signals.job_succeeded,
    Failed: signals.job_failed,
    Again: signals.job_retried,
    Released: signals.job_released,
    Cancelled: signals.job_cancelled,
    Parked: signals.job_parked,
}


class Announcer:
    """Sends the signals of one app about attempts that have ended."""

    def __init__(self, app: object, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    def ended(
        self,
        record: JobRecord,
        ended: Ended,
        handover: Handover,
        progress: Progress | None = None,
    ) -> None:
        """Say what happened. The record is made by the rule that the store has applied.

        :param progress: how far the attempt came, if that is known.
        """
        claim = ended.outcome.claim
        if claim in handover.stale:
            signals.send(signals.outcome_dropped, self._app, job=record, claim=claim)
            return
        for job in handover.cancelled:
            if job.id == record.id:
                # It would have waited again, but somebody had asked to cancel it.
                self._cancelled(job, ended.exception)
                return
        signal = _SIGNALS[type(ended.outcome)]
        if signal.receivers:
            now = self._clock.now()
            if progress is not None:
                record = advanced(record, progress, now)
            after = settled(record, ended.outcome, now)
            facts: dict[str, object] = {"job": after, "exception": ended.exception}
            if isinstance(ended.outcome, Parked):
                facts["reason"] = ended.outcome.error.message
            signals.send(signal, self._app, **facts)

    def expired(self, outcomes: Sequence[Outcome], cancelled: Sequence[JobRecord]) -> None:
        """Say what the store cancelled while it looked for a job; the outcomes speak of theirs."""
        ours = {each.claim.job_id for each in outcomes if not never_began(each)}
        for job in cancelled:
            if job.id not in ours:
                self._cancelled(job, None)

    def _cancelled(self, job: JobRecord, exception: BaseException | None) -> None:
        signals.send(signals.job_cancelled, self._app, job=job, exception=exception)
