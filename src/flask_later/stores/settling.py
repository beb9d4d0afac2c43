"""What workers have in hand, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Generic, TypeVar

from flask_later.core.exchange import Claim, Outcome, Succeeded
from flask_later.core.job import JobRecord
from flask_later.core.states import was_cancelled

T = TypeVar("T")


class Settled:
    """Which outcomes are done and which are stale, and what was cancelled although none says so."""

    def __init__(self) -> None:
        self.done: list[Claim] = []
        self.stale: list[Claim] = []
        self.cancelled: list[JobRecord] = []

    def add(self, outcome: Outcome, record: JobRecord | None) -> None:
        """Note the job as it is after *outcome*, or None if that is stale."""
        (self.stale if record is None else self.done).append(outcome.claim)
        if record is not None and was_cancelled(record, outcome):
            self.cancelled.append(record)


class InHand(Generic[T]):
    """The attempts that the workers of this process have in hand, as they were claimed.

    To settle one it need not be read again, unless it was asked to stop or taken away.
    """

    def __init__(self) -> None:
        self._held: dict[Claim, T] = {}

    def get(self, claim: Claim) -> T | None:
        return self._held.get(claim)

    def successes(self, outcomes: Iterable[Outcome]) -> list[tuple[T, str]]:
        """Return the attempts among them that have succeeded, with their results."""
        return [
            (held, each.result)
            for each in outcomes
            if isinstance(each, Succeeded) and (held := self._held.get(each.claim)) is not None
        ]

    def take(self, claimed: Iterable[tuple[Claim, T]]) -> None:
        self._held.update(claimed)

    def give(self, settled: Iterable[Outcome]) -> None:
        for outcome in settled:
            self._held.pop(outcome.claim, None)

    def keep_only(self, holding: Collection[Claim]) -> None:
        """Forget all but those attempts.

        One that comes meanwhile may be forgotten too: it is read from the store then.
        """
        held = self._held
        self._held = {claim: held[claim] for claim in holding if claim in held}
