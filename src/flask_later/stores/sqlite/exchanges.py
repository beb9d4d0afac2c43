"""What the workers of this process have in hand, and how it is settled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from flask_later.core.exchange import Claim, Handover, Outcome, Want
from flask_later.core.job import JobRecord
from flask_later.core.states import settled_once
from flask_later.stores.settling import InHand, Settled

from .claims import hand_out, to_held
from .jobs import Held, Jobs
from .rows import Row
from .workers import Workers


class Exchanged(NamedTuple):
    """What an exchange did, as far as that had to be done in its transaction."""

    settled: Settled
    #: What it handed out, as it was before.
    taken: Sequence[Row]
    #: What had expired.
    over: Sequence[JobRecord]
    now: datetime


class Exchanges:
    """Settles and claims."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._in_hand: InHand[Held] = InHand()

    def exchange(
        self, jobs: Jobs, worker: str, outcomes: Sequence[Outcome], want: Want
    ) -> Exchanged:
        """Do so in a transaction; :meth:`conclude` it once that is committed."""
        settled = Settled()
        succeeded = self._settle_successes(jobs, outcomes)
        for outcome in outcomes:
            if outcome.claim in succeeded:
                settled.done.append(outcome.claim)
            else:
                settled.add(outcome, _settle(jobs, outcome))
        taken, over = hand_out(jobs, worker, want)
        if want.limit > 0:
            self._workers.glance(jobs.db, worker)
        return Exchanged(settled, taken, over, jobs.now)

    def conclude(self, worker: str, outcomes: Iterable[Outcome], done: Exchanged) -> Handover:
        """Note what is in hand now, and what is not any more; return what *worker* has got."""
        held = [to_held(row, worker, done.now) for row in done.taken]
        claimed = [record for record, _ in held]
        claims = (Claim(record.id, record.fence) for record in claimed)
        self._in_hand.take(zip(claims, held, strict=True))
        self._in_hand.give(outcomes)
        settled = done.settled
        return Handover(claimed, settled.done, settled.stale, [*settled.cancelled, *done.over])

    def take(self, held: Held) -> None:
        """Note that this is in hand now, claimed otherwise."""
        record = held.record
        self._in_hand.take([(Claim(record.id, record.fence), held)])

    def keep_only(self, holding: Collection[Claim]) -> None:
        """Forget all attempts but those."""
        self._in_hand.keep_only(holding)

    def _settle_successes(self, jobs: Jobs, outcomes: Iterable[Outcome]) -> Collection[Claim]:
        """Settle at once what has succeeded, as nearly all do; return those attempts.

        None of them if something has happened to one: then each has to be looked at.
        """
        ended = self._in_hand.successes(outcomes)
        if not ended or not jobs.succeed(ended):
            return ()
        return {Claim(record.id, record.fence) for (record, _), _ in ended}


def _settle(jobs: Jobs, outcome: Outcome) -> JobRecord | None:
    """Return the record as it is then, or None for a stale outcome."""
    before = jobs.load(outcome.claim.job_id)
    after = settled_once(before, outcome, jobs.now)
    return None if before is None or after is None else jobs.save(before, after)
