"""Sweeping: what time alone brings about, for jobs that wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_later.core.exchange import Again, Parked
from flask_later.core.job import Hint, JobRecord, JobState
from flask_later.core.store import Store, Swept
from flask_later.testing.records import START, make_record

from .base import (
    OOPS,
    ContractBase,
    PatientClock,
    attempt,
    claim_ids,
    now_of,
    put,
    settle,
    start,
)


def park(store: Store, worker: str, signature: str | None) -> JobRecord:
    """Make a job of the task ``shop.tasks.send`` that is parked for *signature*."""
    running = start(store, worker)
    settle(store, worker, Parked(attempt(running), OOPS, signature))
    return now_of(store, running)


class SweepingContract(ContractBase):
    def test_a_sweep_of_nothing_does_nothing(self, store: Store) -> None:
        """Nothing falls due."""
        swept = store.sweep(100, {})
        assert (list(swept.hints), swept.next_due, swept.rescued) == ([], None, 0)

    def test_what_has_fallen_due_is_queued(self, store: Store, clock: PatientClock) -> None:
        """At its instant, not before; with a hint to it."""
        (record,) = put(store, make_record(delay=10))
        clock.advance(9.999)
        assert list(store.sweep(100, {}).hints) == []
        clock.advance(0.001)
        hint = Hint(store.identity, record.queue, record.id, 0)
        assert list(store.sweep(100, {}).hints) == [hint]
        assert now_of(store, record) == record._replace(state=JobState.QUEUED)

    def test_a_second_sweep_finds_nothing_left(
        self, store: Store, other: Store, clock: PatientClock
    ) -> None:
        """Any process may sweep at any time: a job is queued once."""
        put(store, make_record(delay=1))
        clock.advance(1)
        assert len(store.sweep(100, {}).hints) == 1
        assert list(other.sweep(100, {}).hints) == []

    def test_a_late_sweep_keeps_the_order(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """What fell due first is handed out first, whenever the sweep came."""
        later, sooner = put(store, make_record(delay=20), make_record(delay=10))
        clock.advance(15)
        (between,) = put(store, make_record(at=clock.now()))
        clock.advance(60)
        store.sweep(100, {})
        assert claim_ids(store, worker, 3) == [sooner.id, between.id, later.id]

    def test_a_sweep_tells_when_the_next_row_falls_due(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The earliest of those that wait for their time, a new delay or another try."""
        running = start(store, worker)
        put(store, make_record(delay=30), make_record(delay=20))
        assert store.sweep(100, {}).next_due == START + timedelta(seconds=20)
        settle(store, worker, Again(attempt(running), START + timedelta(seconds=10), OOPS))
        assert store.sweep(100, {}).next_due == START + timedelta(seconds=10)
        clock.advance(25)
        assert store.sweep(100, {}).next_due == START + timedelta(seconds=30)

    def test_a_sweep_keeps_its_budget(self, store: Store, clock: PatientClock) -> None:
        """The earliest go first; the next sweep goes on, and is told to come at once."""
        jobs = put(store, *(make_record(delay=each) for each in (3, 1, 2)))
        clock.advance(5)
        swept = store.sweep(2, {})
        assert [hint.job_id for hint in swept.hints] == [jobs[1].id, jobs[2].id]
        assert swept.next_due == jobs[0].run_at
        assert [hint.job_id for hint in store.sweep(2, {}).hints] == [jobs[0].id]

    def test_a_held_job_does_not_fall_due(self, store: Store, clock: PatientClock) -> None:
        """It waits for its caller's commit."""
        (held,) = put(store, make_record(delay=1, state=JobState.HELD))
        clock.advance(2)
        assert store.sweep(100, {}).next_due is None
        assert now_of(store, held) == held

    @pytest.mark.parametrize("signature", ["old", None], ids=["misfit", "unknown"])
    def test_a_parked_job_is_queued_once_its_task_fits(
        self, store: Store, clock: PatientClock, worker: str, signature: str | None
    ) -> None:
        """Code was deployed that knows the task by another signature than the job did not fit."""
        parked = park(store, worker, signature)
        clock.advance(60)
        swept = store.sweep(100, {"another": "x", parked.task: "new"})
        assert list(swept.hints) == [Hint(store.identity, parked.queue, parked.id, 1)]
        assert now_of(store, parked) == parked._replace(
            state=JobState.QUEUED, error=None, parked_for=None
        )

    @pytest.mark.parametrize(
        "known",
        [{}, {"another": "new"}, {"shop.tasks.send": "old"}],
        ids=["nothing", "another", "the same"],
    )
    def test_a_parked_job_stays_where_nothing_is_new(
        self, store: Store, worker: str, known: dict[str, str]
    ) -> None:
        """The task is not known here, or has the digest that the job does not fit."""
        parked = park(store, worker, "old")
        assert list(store.sweep(100, known).hints) == []
        assert now_of(store, parked) == parked

    def test_unparking_keeps_its_budget(self, store: Store, worker: str) -> None:
        """The next sweep goes on."""
        for signature in ("old", "older", None):
            park(store, worker, signature)
        known = {"shop.tasks.send": "new"}
        assert [len(store.sweep(2, known).hints) for _ in range(3)] == [2, 1, 0]

    def test_a_sweep_answers_plain_values(self, store: Store) -> None:
        """It is a Swept, also where nothing was done."""
        assert isinstance(store.sweep(1, {}), Swept)
