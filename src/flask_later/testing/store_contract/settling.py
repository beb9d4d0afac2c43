"""Settling: what each outcome does, and that only the one who holds the attempt can say it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_later.core.exchange import (
    NOTHING,
    Again,
    Cancelled,
    Claim,
    Failed,
    Outcome,
    Parked,
    Released,
    Succeeded,
)
from flask_later.core.job import Cancel, Discard, JobState, Retry
from flask_later.core.store import Store
from flask_later.testing.records import START, make_record

from .base import (
    OOPS,
    ContractBase,
    PatientClock,
    attempt,
    claim,
    is_gone,
    now_of,
    put,
    settle,
    start,
)

LATER = START + timedelta(minutes=1)

#: Every kind of outcome, for a claim that is filled in.
NOBODY = Claim("", 0)
OUTCOMES: list[Outcome] = [
    Succeeded(NOBODY, "1"),
    Failed(NOBODY, OOPS),
    Failed(NOBODY, OOPS, taken=True),
    Again(NOBODY, LATER),
    Again(NOBODY, START, OOPS, taken=True),
    Released(NOBODY),
    Cancelled(NOBODY),
    Parked(NOBODY, OOPS, "digest"),
]
#: Those that do not take the attempt from anyone: they leave the fence where it is.
KEEPING = [outcome for outcome in OUTCOMES if True not in outcome and outcome != Released(NOBODY)]


def name_of(outcome: Outcome) -> str:
    return type(outcome).__name__ + "-taken" * (True in outcome)


class SettlingContract(ContractBase):
    def test_a_success_keeps_its_result(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The job is finished, and nobody holds it any more."""
        running = start(store, worker)
        clock.advance(5)
        done = settle(store, worker, Succeeded(attempt(running), '{"rows":12}'))
        assert (list(done.done), list(done.stale)) == ([attempt(running)], [])
        assert now_of(store, running) == running._replace(
            state=JobState.SUCCEEDED, result='{"rows":12}', worker=None, finished_at=clock.now()
        )

    def test_a_failure_keeps_its_error(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The job is finished, and the failure counted."""
        running = start(store, worker)
        clock.advance(5)
        settle(store, worker, Failed(attempt(running), OOPS))
        assert now_of(store, running) == running._replace(
            state=JobState.FAILED, error=OOPS, failures=1, worker=None, finished_at=clock.now()
        )

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_what_a_failure_leaves_is_kept(self, store: Store, worker: str, size: int) -> None:
        """A retry forgets it."""
        running = start(store, worker)
        left = f'"{"x" * size}"'
        settle(store, worker, Failed(attempt(running), OOPS, result=left))
        failed = now_of(store, running)
        assert (failed.state, failed.result, failed.error) == (JobState.FAILED, left, OOPS)
        assert store.command(running.id, Retry()).result is None
        assert now_of(store, running).result is None

    def test_a_failed_attempt_is_tried_again(self, store: Store, worker: str) -> None:
        """It waits for its next try, with the error to be read in the meantime."""
        running = start(store, worker)
        settle(store, worker, Again(attempt(running), LATER, OOPS))
        assert now_of(store, running) == running._replace(
            state=JobState.SCHEDULED, run_at=LATER, error=OOPS, failures=1, worker=None
        )

    def test_trying_again_without_an_error_is_no_failure(self, store: Store, worker: str) -> None:
        """The attempt counts, a failure does not."""
        running = start(store, worker)
        settle(store, worker, Again(attempt(running), LATER))
        after = now_of(store, running)
        assert (after.attempts, after.failures, after.error) == (1, 0, None)

    def test_trying_again_at_once_queues(self, store: Store, worker: str) -> None:
        """A time that is not ahead needs no sweep."""
        running = start(store, worker)
        settle(store, worker, Again(attempt(running), START))
        assert now_of(store, running).state is JobState.QUEUED

    def test_a_success_forgets_the_error_of_the_try_before(self, store: Store, worker: str) -> None:
        """What is finished well has no error; its failures stay counted."""
        first = start(store, worker)
        settle(store, worker, Again(attempt(first), START, OOPS))
        (second,) = claim(store, worker)
        settle(store, worker, Succeeded(attempt(second), "1"))
        after = now_of(store, second)
        assert (after.error, after.failures, after.attempts) == (None, 1, 2)

    def test_a_released_attempt_does_not_count(self, store: Store, worker: str) -> None:
        """The job is queued again under a new fence, and the release is counted apart."""
        running = start(store, worker)
        settle(store, worker, Released(attempt(running)))
        assert now_of(store, running) == running._replace(
            state=JobState.QUEUED, fence=2, attempts=0, releases=1, worker=None
        )

    def test_a_cancelled_attempt_ends_the_job(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It followed a request, so it is no failure."""
        running = start(store, worker)
        store.command(running.id, Cancel())
        settle(store, worker, Cancelled(attempt(running)))
        assert now_of(store, running) == running._replace(
            state=JobState.CANCELLED, worker=None, finished_at=clock.now()
        )

    def test_what_cannot_run_here_is_parked(self, store: Store, worker: str) -> None:
        """With the reason and the digest that it did not fit; the attempt does not count."""
        running = start(store, worker)
        settle(store, worker, Parked(attempt(running), OOPS, "digest"))
        assert now_of(store, running) == running._replace(
            state=JobState.PARKED, attempts=0, error=OOPS, parked_for="digest", worker=None
        )

    @pytest.mark.parametrize("outcome", KEEPING, ids=name_of)
    def test_settling_again_is_done_and_changes_nothing(
        self, store: Store, clock: PatientClock, worker: str, outcome: Outcome
    ) -> None:
        """A lost answer may be asked for again."""
        running = start(store, worker)
        outcome = outcome._replace(claim=attempt(running))
        settle(store, worker, outcome)
        before = now_of(store, running)
        clock.advance(1)
        assert list(settle(store, worker, outcome).done) == [outcome.claim]
        assert now_of(store, running) == before

    def test_another_outcome_does_not_overwrite_the_first(self, store: Store, worker: str) -> None:
        """An attempt is settled once."""
        running = start(store, worker)
        settle(store, worker, Succeeded(attempt(running), "1"))
        before = now_of(store, running)
        settle(store, worker, Failed(attempt(running), OOPS))
        assert now_of(store, running) == before

    @pytest.mark.parametrize("outcome", OUTCOMES, ids=name_of)
    def test_a_stale_outcome_changes_nothing(
        self, store: Store, other: Store, worker: str, rival: str, outcome: Outcome
    ) -> None:
        """Who lost the attempt to another worker has nothing more to say."""
        lost = start(store, worker)
        settle(store, worker, Released(attempt(lost)))
        (running,) = claim(other, rival)
        answer = settle(store, worker, outcome._replace(claim=attempt(lost)))
        assert (list(answer.done), list(answer.stale)) == ([], [attempt(lost)])
        assert now_of(store, lost) == running

    @pytest.mark.parametrize(
        "taking",
        [Failed(NOBODY, OOPS, taken=True), Again(NOBODY, LATER, OOPS, taken=True)],
        ids=["failed", "again"],
    )
    def test_a_taken_attempt_can_write_no_more(
        self, store: Store, worker: str, taking: Outcome
    ) -> None:
        """Its thread still runs: the fence moves away under it."""
        running = start(store, worker)
        settle(store, worker, taking._replace(claim=attempt(running)))
        before = now_of(store, running)
        assert before.fence == running.fence + 1
        assert list(settle(store, worker, Succeeded(attempt(running), "1")).stale)
        assert now_of(store, running) == before

    def test_an_outcome_of_a_job_that_is_gone_is_stale(self, store: Store, worker: str) -> None:
        """And so is one of a job that never was."""
        running = start(store, worker)
        settle(store, worker, Succeeded(attempt(running), "1"))
        store.command(running.id, Discard())
        gone, unknown = Succeeded(attempt(running), "1"), Succeeded(Claim("f" * 32, 1), "1")
        answer = settle(store, worker, gone, unknown)
        assert (list(answer.done), list(answer.stale)) == ([], [gone.claim, unknown.claim])
        assert is_gone(store, running)

    def test_an_outcome_from_the_future_is_stale(self, store: Store, worker: str) -> None:
        """A fence that was never given out settles nothing."""
        running = start(store, worker)
        ahead = Claim(running.id, running.fence + 1)
        assert list(settle(store, worker, Succeeded(ahead, "1")).stale) == [ahead]
        assert now_of(store, running) == running

    def test_outcomes_are_judged_one_by_one(self, store: Store, worker: str) -> None:
        """A stale one does not take its neighbours along."""
        put(store, *(make_record() for _ in range(3)))
        jobs = claim(store, worker, 3)
        settle(store, worker, Released(attempt(jobs[1])))
        answer = settle(store, worker, *(Succeeded(attempt(job), "1") for job in jobs))
        assert list(answer.done) == [attempt(jobs[0]), attempt(jobs[2])]
        assert list(answer.stale) == [attempt(jobs[1])]

    def test_the_same_outcome_twice_in_one_exchange_is_done(
        self, store: Store, worker: str
    ) -> None:
        """The second finds the job settled under its own fence."""
        running = start(store, worker)
        outcome = Succeeded(attempt(running), "1")
        assert len(store.exchange(worker, [outcome, outcome], NOTHING).done) == 2

    def test_the_fence_is_never_reset(self, store: Store, worker: str) -> None:
        """Neither a retry nor another try gives out a fence that was there before."""
        running = start(store, worker)
        settle(store, worker, Failed(attempt(running), OOPS))
        assert store.command(running.id, Retry()).fence == 1
        (again,) = claim(store, worker)
        assert again.fence == 2
        assert list(settle(store, worker, Succeeded(attempt(running), "1")).stale)

    def test_a_cancelled_job_is_not_tried_again(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Somebody asked to cancel it while it ran, and it failed before it heard of that."""
        running = start(store, worker)
        store.command(running.id, Cancel())
        handover = settle(store, worker, Again(attempt(running), LATER, OOPS))
        after = now_of(store, running)
        assert list(handover.cancelled) == [after]
        assert (after.state, after.stop) == (JobState.CANCELLED, None)
        assert (after.error, after.failures, after.finished_at) == (OOPS, 1, clock.now())

    def test_a_cancelled_job_is_not_released(self, store: Store, worker: str) -> None:
        """Its process stopped before it heard of it: nobody wants it to run again."""
        running = start(store, worker)
        store.command(running.id, Cancel())
        handover = settle(store, worker, Released(attempt(running)))
        assert now_of(store, running).state is JobState.CANCELLED
        assert list(handover.cancelled) == [now_of(store, running)]

    def test_a_cancelled_job_is_not_parked(self, store: Store, worker: str) -> None:
        """A parked job would wait to be run."""
        running = start(store, worker)
        store.command(running.id, Cancel())
        handover = settle(store, worker, Parked(attempt(running), OOPS))
        after = now_of(store, running)
        assert list(handover.cancelled) == [after]
        assert (after.state, after.stop) == (JobState.CANCELLED, None)

    @pytest.mark.parametrize(
        ("outcome", "state"),
        [
            (Succeeded(NOBODY, "1"), JobState.SUCCEEDED),
            (Failed(NOBODY, OOPS), JobState.FAILED),
        ],
        ids=["succeeded", "failed"],
    )
    def test_what_ended_before_it_heard_of_a_cancel_keeps_its_end(
        self, store: Store, worker: str, outcome: Outcome, state: JobState
    ) -> None:
        """What happened, happened."""
        running = start(store, worker)
        store.command(running.id, Cancel())
        handover = settle(store, worker, outcome._replace(claim=attempt(running)))
        after = now_of(store, running)
        assert (after.state, after.stop, list(handover.cancelled)) == (state, None, [])
