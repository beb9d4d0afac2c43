"""Expiring: a job that nobody has begun in time is cancelled, and never handed out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_later.core.exchange import Again, Claim, Outcome, Parked, Released, Want
from flask_later.core.job import ErrorRecord, JobRecord, JobState, Resume, Retry
from flask_later.core.states import EXPIRED
from flask_later.core.store import MAX_EXPIRED, Limits, Store
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

Ending = Callable[[Claim], Outcome]


def parked(claim: Claim) -> Outcome:
    return Parked(claim, OOPS)


def expiring(**changes: Any) -> JobRecord:
    """Return a job that expires after 10 seconds."""
    return make_record(expires_at=START + timedelta(seconds=10), **changes)


def is_expired(record: JobRecord) -> bool:
    """Whether *record* was cancelled because its time was over."""
    cancelled = record.state is JobState.CANCELLED and record.finished_at is not None
    return cancelled and record.error is not None and record.error.type == EXPIRED


class ExpiringContract(ContractBase):
    def test_an_expired_job_is_not_handed_out(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The exchange says so, and hands out the next one."""
        first, second = put(store, expiring(), make_record())
        clock.advance(10)
        handover = store.exchange(worker, (), Want(1))
        assert [record.id for record in handover.claimed] == [second.id]
        assert list(handover.cancelled) == [now_of(store, first)]
        assert is_expired(now_of(store, first))
        assert now_of(store, first).finished_at == clock.now()

    def test_a_job_is_handed_out_until_it_expires(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """And what has begun goes on."""
        (record,) = put(store, expiring())
        clock.advance(9.999)
        assert claim_ids(store, worker) == [record.id]
        clock.advance(10)
        assert list(store.sweep(100, {}).expired) == []
        assert now_of(store, record).state is JobState.RUNNING

    @pytest.mark.parametrize(
        "state", [JobState.HELD, JobState.SCHEDULED, JobState.QUEUED, JobState.PARKED]
    )
    def test_a_sweep_ends_what_has_expired(
        self, store: Store, clock: PatientClock, state: JobState
    ) -> None:
        """Also where nobody asks for jobs; there are no hints to it."""
        (record,) = put(store, expiring(state=state))
        clock.advance(9.999)
        assert list(store.sweep(100, {}).expired) == []
        clock.advance(0.001)
        swept = store.sweep(100, {})
        assert list(swept.expired) == [now_of(store, record)]
        assert list(swept.hints) == []
        assert is_expired(now_of(store, record))
        assert list(store.sweep(100, {}).expired) == []

    def test_a_sweep_ends_what_has_waited_long(self, store: Store, clock: PatientClock) -> None:
        """Without a hint, although its queue would have been hinted at again."""
        put(store, expiring())
        clock.advance(60)
        assert list(store.sweep(100, {}).hints) == []

    def test_a_sweep_expires_within_its_budget(self, store: Store, clock: PatientClock) -> None:
        """Those that expired first go first, the next sweep goes on."""
        at = [START + timedelta(seconds=each) for each in (3, 1, 2)]
        jobs = put(store, *(make_record(expires_at=each) for each in at))
        clock.advance(5)
        expired = [[record.id for record in store.sweep(2, {}).expired] for _ in range(3)]
        assert expired == [[jobs[1].id, jobs[2].id], [jobs[0].id], []]

    @pytest.mark.parametrize("error", [None, OOPS], ids=["try again", "failure"])
    def test_a_job_that_has_begun_does_not_expire(
        self, store: Store, clock: PatientClock, worker: str, error: ErrorRecord | None
    ) -> None:
        """Its next try comes when it comes."""
        running = start(store, worker, expiring())
        again = Again(attempt(running), clock.now() + timedelta(seconds=20), error)
        settle(store, worker, again)
        clock.advance(20)
        assert list(store.sweep(100, {}).expired) == []
        assert claim_ids(store, worker) == [running.id]

    @pytest.mark.parametrize("give_back", [Released, parked], ids=["released", "parked"])
    def test_an_attempt_that_never_was_does_not_save_a_job(
        self, store: Store, clock: PatientClock, worker: str, give_back: Ending
    ) -> None:
        """It waits as if it had not been claimed, also when its time was over meanwhile."""
        running = start(store, worker, expiring())
        clock.advance(20)
        store.sweep(100, {})
        settle(store, worker, give_back(attempt(running)))
        assert [record.id for record in store.sweep(100, {}).expired] == [running.id]

    def test_a_delayed_job_that_is_late_is_not_run(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """No process was there when it fell due."""
        (record,) = put(store, expiring(run_at=START + timedelta(seconds=5)))
        clock.advance(60)
        store.sweep(100, {})
        assert claim_ids(store, worker) == []
        assert is_expired(now_of(store, record))

    def test_an_expired_job_gives_its_key_and_its_place_back(
        self, store: Store, clock: PatientClock, limits: Limits
    ) -> None:
        """As any job that ends."""
        keys = map(str, range(limits.max_pending))
        put(store, *(expiring(unique_key=key) for key in keys))
        clock.advance(10)
        store.sweep(100, {})
        assert store.add([make_record(unique_key="0")])[0].created

    def test_a_retried_job_does_not_expire_again(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Whoever asks for it now wants it now."""
        (record,) = put(store, expiring())
        clock.advance(10)
        store.sweep(100, {})
        again = store.command(record.id, Retry())
        assert (again.state, again.error, again.expires_at) == (JobState.QUEUED, None, None)
        assert claim_ids(store, worker) == [record.id]

    def test_a_held_job_that_has_expired_is_not_handed_out(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Although its caller resumes it."""
        (record,) = put(store, expiring(state=JobState.HELD))
        clock.advance(10)
        store.command(record.id, Resume())
        assert claim_ids(store, worker) == []
        assert is_expired(now_of(store, record))

    def test_several_are_claimed_past_those_that_have_expired(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """In their order, as many as were asked for."""
        jobs = put(store, *(expiring() if each % 2 else make_record() for each in range(8)))
        clock.advance(10)
        assert claim_ids(store, worker, 3) == [jobs[each].id for each in (0, 2, 4)]
        assert now_of(store, jobs[5]).state is JobState.QUEUED

    def test_one_exchange_cancels_so_many_at_most(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Others want to write, too; the next exchange goes on."""
        (last,) = put(store, make_record(priority=-1))
        # More than may wait at a time: what is parked does not count.
        parked = [expiring(state=JobState.PARKED) for _ in range(MAX_EXPIRED + 1)]
        for record in parked:
            put(store, record)
        for record in parked:
            store.command(record.id, Resume())
        clock.advance(10)
        handovers = [store.exchange(worker, (), Want(1)) for _ in range(2)]
        assert [len(each.cancelled) for each in handovers] == [MAX_EXPIRED, 1]
        assert [record.id for each in handovers for record in each.claimed] == [last.id]

    def test_what_lies_behind_those_that_have_expired_comes_before_the_next_queue(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The order of the queues is strict, however many have expired."""
        put(store, *(expiring(queue="mail") for _ in range(5)))
        mail, report = put(
            store, make_record(queue="mail", priority=-1), make_record(queue="report")
        )
        clock.advance(10)
        handover = store.exchange(worker, (), Want(2, ("mail", "report")))
        assert [record.id for record in handover.claimed] == [mail.id, report.id]
