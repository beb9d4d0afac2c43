"""Settling attempts: what their outcomes make of the jobs."""

from __future__ import annotations

from collections.abc import Sequence

from flask_later.core.exchange import Outcome
from flask_later.core.job import JobRecord
from flask_later.core.states import settled, settled_once
from flask_later.stores.settling import InHand, Settled

from .jobs import Jobs


def settle(jobs: Jobs, outcomes: Sequence[Outcome], in_hand: InHand[JobRecord]) -> Settled:
    """Write *outcomes*, in the order in which all lock jobs: by their ids."""
    records: dict[int, JobRecord | None] = {}
    for number, outcome in sorted(enumerate(outcomes), key=lambda each: each[1].claim):
        records[number] = _settle(jobs, outcome, in_hand.get(outcome.claim))
    answer = Settled()
    for number, outcome in enumerate(outcomes):
        answer.add(outcome, records[number])
    return answer


def _settle(jobs: Jobs, outcome: Outcome, held: JobRecord | None) -> JobRecord | None:
    """Return the record as it is then, or None for a stale outcome."""
    if held is not None:
        after = settled(held, outcome, jobs.now)
        if jobs.save_settled(held, after):
            return after
    before = jobs.load(outcome.claim.job_id, locked=True)
    after_all = settled_once(before, outcome, jobs.now)
    return None if before is None or after_all is None else jobs.save(before, after_all)
