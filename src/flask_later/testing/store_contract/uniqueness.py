"""Unique keys: who holds one keeps others out, for as long as it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_later.core.exchange import Again, Claim, Failed, Outcome, Parked, Released, Succeeded
from flask_later.core.job import (
    Cancel,
    Discard,
    ErrorRecord,
    JobRecord,
    JobState,
    Retry,
    UniqueUntil,
)
from flask_later.core.store import Limits, Store
from flask_later.errors import UniqueKeyTakenError
from flask_later.testing.records import START, make_record

from .base import OOPS, ContractBase, PatientClock, attempt, is_gone, now_of, put, settle, start

Ending = Callable[[Claim], Outcome]


def parked(claim: Claim) -> Outcome:
    return Parked(claim, OOPS)


def succeeded(claim: Claim) -> Outcome:
    return Succeeded(claim, "1")


def failed(claim: Claim) -> Outcome:
    return Failed(claim, OOPS)


def rival_of(store: Store) -> JobRecord:
    """Add another job with the key, and return the one that the store answers with."""
    return store.add([make_record(unique_key="k")])[0].record


def until_started(**changes: Any) -> JobRecord:
    """Return a job that holds its key until it has begun."""
    return make_record(unique_key="k", unique_until=UniqueUntil.STARTED, **changes)


def until_gone(**changes: Any) -> JobRecord:
    """Return a job that holds its key as long as there is a record of it."""
    return make_record(unique_key="k", unique_until=UniqueUntil.GONE, **changes)


def for_a_minute(**changes: Any) -> JobRecord:
    """Return a job that holds its key until it has ended, but a minute at least."""
    return make_record(unique_key="k", key_free_at=START + timedelta(seconds=60), **changes)


class UniquenessContract(ContractBase):
    @pytest.mark.parametrize(
        "state", [JobState.HELD, JobState.SCHEDULED, JobState.QUEUED, JobState.PARKED]
    )
    def test_a_waiting_job_holds_its_key_until_it_starts(
        self, store: Store, state: JobState
    ) -> None:
        """One that waits is enough: it will see what there is to be done."""
        (waiting,) = put(store, until_started(state=state))
        assert rival_of(store) == waiting

    @pytest.mark.parametrize("ending", [succeeded, failed])
    def test_a_job_can_hold_its_key_until_its_record_is_gone(
        self, store: Store, worker: str, ending: Ending
    ) -> None:
        """Whatever has become of it."""
        running = start(store, worker, until_gone())
        assert rival_of(store).id == running.id
        settle(store, worker, ending(attempt(running)))
        assert rival_of(store) == now_of(store, running)
        store.command(running.id, Discard())
        assert store.add([make_record(unique_key="k")])[0].created

    def test_a_job_that_has_begun_gives_its_key_back(self, store: Store, worker: str) -> None:
        """What is enqueued from now on it may have missed."""
        start(store, worker, until_started())
        assert store.add([make_record(unique_key="k")])[0].created

    @pytest.mark.parametrize("error", [None, OOPS], ids=["try again", "failure"])
    def test_another_try_does_not_take_the_key_back(
        self, store: Store, clock: PatientClock, worker: str, error: ErrorRecord | None
    ) -> None:
        """The job has begun; somebody else may have the key by now."""
        running = start(store, worker, until_started())
        again = Again(attempt(running), clock.now() + timedelta(seconds=9), error)
        settle(store, worker, again)
        assert store.add([make_record(unique_key="k")])[0].created

    @pytest.mark.parametrize("give_back", [Released, parked], ids=["released", "parked"])
    def test_an_attempt_that_never_was_leaves_the_key(
        self, store: Store, worker: str, give_back: Ending
    ) -> None:
        """The job waits as if it had not been claimed."""
        running = start(store, worker, until_started())
        settle(store, worker, give_back(attempt(running)))
        assert rival_of(store).id == running.id

    @pytest.mark.parametrize(
        "end",
        [succeeded, failed],
        ids=["succeeded", "failed"],
    )
    def test_a_key_is_held_for_a_period(
        self, store: Store, clock: PatientClock, worker: str, end: Ending
    ) -> None:
        """From the enqueue on, also after the job has ended."""
        running = start(store, worker, for_a_minute())
        settle(store, worker, end(attempt(running)))
        clock.advance(59.999)
        assert rival_of(store) == now_of(store, running)
        clock.advance(0.001)
        assert store.add([make_record(unique_key="k")])[0].created

    def test_a_cancelled_job_holds_its_key_for_its_period(
        self, store: Store, clock: PatientClock
    ) -> None:
        """However it ended: only discarding it frees the key."""
        (record,) = put(store, for_a_minute())
        store.command(record.id, Cancel())
        assert rival_of(store).id == record.id
        store.command(record.id, Discard())
        assert store.add([make_record(unique_key="k")])[0].created

    def test_a_job_that_outlasts_its_period_holds_its_key(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The period comes on top of what ``unique_until`` says."""
        running = start(store, worker, for_a_minute())
        clock.advance(61)
        assert rival_of(store) == running

    def test_a_period_holds_for_a_job_that_has_begun(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Also of a key that is held until the start."""
        running = start(store, worker, for_a_minute(unique_until=UniqueUntil.STARTED))
        assert rival_of(store) == running
        clock.advance(60)
        assert store.add([make_record(unique_key="k")])[0].created

    def test_the_answer_is_the_job_that_waits(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Of several that hold a key the first that is not finished."""
        running = start(store, worker, until_started())
        (second,) = put(store, until_started())
        assert rival_of(store) == second
        settle(store, worker, Released(attempt(running)))
        assert rival_of(store).id == running.id

    def test_a_retry_within_its_own_period_is_not_refused(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It is the job itself that holds the key."""
        running = start(store, worker, for_a_minute())
        settle(store, worker, Failed(attempt(running), OOPS))
        assert store.command(running.id, Retry()).state is JobState.QUEUED

    def test_a_retry_needs_the_key_of_a_job_that_waits(self, store: Store, worker: str) -> None:
        """A retried job has not begun, so it would hold its key."""
        running = start(store, worker, until_started())
        settle(store, worker, Failed(attempt(running), OOPS))
        (second,) = put(store, until_started())
        with pytest.raises(UniqueKeyTakenError) as caught:
            store.command(running.id, Retry())
        assert caught.value.holder == second.id

    def test_a_record_that_still_holds_its_key_is_not_pruned(
        self, store: Store, clock: PatientClock, worker: str, limits: Limits
    ) -> None:
        """Its time to live begins when the key is free."""
        day = timedelta(days=1)
        running = start(store, worker, make_record(unique_key="k", key_free_at=START + day))
        settle(store, worker, Succeeded(attempt(running), "1"))
        keep = limits.keep[JobState.SUCCEEDED]
        for moment in (day, keep):
            clock.advance(moment.total_seconds() - 1)
            store.sweep(100, {})
            assert not is_gone(store, running)
            clock.advance(1)
        store.sweep(100, {})
        assert is_gone(store, running)

    def test_the_cap_on_finished_records_spares_those_that_hold_a_key(
        self, store: Store, clock: PatientClock, worker: str, limits: Limits
    ) -> None:
        """The others go in their place."""
        day = START + timedelta(days=1)
        first = start(store, worker, make_record(unique_key="k", key_free_at=day))
        settle(store, worker, Succeeded(attempt(first), "1"))
        others: list[JobRecord] = []
        for _ in range(limits.max_finished):
            clock.advance(1)
            others.append(start(store, worker))
            settle(store, worker, Succeeded(attempt(others[-1]), "1"))
        store.sweep(100, {})
        assert not is_gone(store, first)
        assert [is_gone(store, other) for other in others] == [True] + [False] * (len(others) - 1)
