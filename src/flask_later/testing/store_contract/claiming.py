"""Claiming: who gets which job, in which order."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask_later.core.exchange import Again, Note, Succeeded, Want
from flask_later.core.job import Hint, JobRecord, JobState, Progress, Resume
from flask_later.core.store import Pause, Store
from flask_later.testing.records import START, make_record

from .base import (
    OOPS,
    ContractBase,
    PatientClock,
    attempt,
    claim,
    claim_ids,
    now_of,
    put,
    settle,
    start,
)


def ago(seconds: float) -> datetime:
    return START - timedelta(seconds=seconds)


def hint_of(store: Store, record: JobRecord) -> Hint:
    return Hint(store.identity, record.queue, record.id, record.fence)


class ClaimingContract(ContractBase):
    def test_a_claimed_job_is_handed_over(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It runs, under a new fence, and the store knows who has it since when."""
        (record,) = put(store, make_record())
        clock.advance(3)
        (running,) = claim(store, worker)
        assert running == record._replace(
            state=JobState.RUNNING, fence=1, attempts=1, worker=worker, started_at=clock.now()
        )
        assert now_of(store, record) == running

    def test_an_empty_store_hands_out_nothing(self, store: Store, worker: str) -> None:
        """Nothing is no error."""
        assert claim(store, worker, 5) == []

    def test_a_job_is_handed_out_once(
        self, store: Store, other: Store, worker: str, rival: str
    ) -> None:
        """Two workers never get the same job."""
        put(store, make_record())
        assert len(claim(store, worker, 5)) == 1
        assert claim(other, rival, 5) == []

    def test_no_more_are_claimed_than_wanted(self, store: Store, worker: str) -> None:
        """The limit holds, and one of zero claims nothing."""
        put(store, *(make_record() for _ in range(3)))
        assert claim(store, worker, 0) == []
        assert len(claim(store, worker, 2)) == 2
        assert len(claim(store, worker, 2)) == 1

    def test_equal_jobs_come_in_the_order_they_were_stored(self, store: Store, worker: str) -> None:
        """First stored, first run, within a batch and between batches."""
        batch = put(store, *(make_record() for _ in range(4)))
        batch += put(store, make_record())
        assert claim_ids(store, worker, 3) == [record.id for record in batch[:3]]
        assert claim_ids(store, worker, 3) == [record.id for record in batch[3:]]

    def test_the_one_that_waits_longest_comes_first(self, store: Store, worker: str) -> None:
        """What counts is since when a job may run, not when it was stored."""
        late, early = make_record(at=ago(10)), make_record(at=ago(20))
        put(store, late, early)
        assert claim_ids(store, worker, 2) == [early.id, late.id]

    def test_a_higher_priority_comes_first(self, store: Store, worker: str) -> None:
        """Also when it was stored later."""
        low, normal, high = (make_record(priority=each) for each in (-1, 0, 1))
        put(store, low, normal, high)
        assert claim_ids(store, worker, 3) == [high.id, normal.id, low.id]

    def test_waiting_outweighs_priority(self, store: Store, worker: str) -> None:
        """A point of priority is worth a minute, so that nothing starves."""
        waiting = make_record(at=ago(100))
        sooner = make_record(at=ago(41), priority=1)
        later = make_record(at=ago(39), priority=1)
        put(store, later, waiting, sooner)
        assert claim_ids(store, worker, 3) == [sooner.id, waiting.id, later.id]

    def test_queues_are_taken_in_strict_order(self, store: Store, worker: str) -> None:
        """Whatever priority the jobs of a later queue have."""
        slow = make_record(queue="slow", priority=100)
        fast = make_record(queue="fast", priority=-100)
        put(store, slow, fast)
        assert claim_ids(store, worker, 2, ("fast", "slow")) == [fast.id, slow.id]

    def test_only_the_wanted_queues_are_touched(self, store: Store, worker: str) -> None:
        """Jobs of another queue stay, and a queue nobody knows is an empty one."""
        a, b = put(store, make_record(queue="a"), make_record(queue="b"))
        assert claim_ids(store, worker, 5, ("unknown", "b")) == [b.id]
        assert now_of(store, a) == a
        assert claim_ids(store, worker, 5, ()) == []

    def test_a_limit_reaches_over_queues(self, store: Store, worker: str) -> None:
        """What the first queue does not fill, the next one does."""
        a1, b1, b2 = put(store, *(make_record(queue=each) for each in "abb"))
        assert claim_ids(store, worker, 2, ("a", "b")) == [a1.id, b1.id]
        assert claim_ids(store, worker, 2, ("a", "b")) == [b2.id]

    def test_without_queues_the_best_of_all_comes_first(self, store: Store, worker: str) -> None:
        """None means any queue, in the order of rank."""
        b, c, a = put(
            store,
            *(make_record(queue=q, priority=p) for q, p in zip("bca", (0, 2, 1), strict=True)),
        )
        assert claim_ids(store, worker, 2) == [c.id, a.id]
        assert claim_ids(store, worker, 2) == [b.id]

    def test_without_queues_equals_come_in_stored_order(self, store: Store, worker: str) -> None:
        """Also when they are in different queues."""
        jobs = put(store, *(make_record(queue=each) for each in "cabca"))
        assert claim_ids(store, worker, 5) == [record.id for record in jobs]

    def test_the_preferred_queue_comes_first(self, store: Store, worker: str) -> None:
        """A hint names the queue where to look first."""
        a, b = put(store, make_record(queue="a", priority=9), make_record(queue="b"))
        first, second = claim(store, worker, 2, prefer=hint_of(store, b))
        assert [first.id, second.id] == [b.id, a.id]

    def test_a_hint_does_not_jump_its_queue(self, store: Store, worker: str) -> None:
        """The best job of the queue is handed out, also when the hint names another."""
        best, hinted = put(store, make_record(priority=1), make_record())
        assert [job.id for job in claim(store, worker, prefer=hint_of(store, hinted))] == [best.id]

    def test_a_hint_to_nothing_finds_the_other_queues(self, store: Store, worker: str) -> None:
        """A hint may be late: its job taken, its queue empty."""
        (job,) = put(store, make_record(queue="a"))
        late = Hint(store.identity, "empty", "0" * 32, 7)
        assert [each.id for each in claim(store, worker, prefer=late)] == [job.id]

    def test_a_paused_queue_is_passed_over(self, store: Store, other: Store, worker: str) -> None:
        """By all who share the store, however they ask; enqueueing goes on."""
        put(store, make_record(queue="a"))
        other.queue("a", Pause())
        (late,) = put(store, make_record(queue="a"))
        (b,) = put(store, make_record(queue="b"))
        assert claim(store, worker, 5, ("a",)) == []
        assert claim_ids(store, worker) == [b.id]
        assert claim(store, worker, prefer=hint_of(store, late)) == []

    def test_a_resumed_queue_hands_out_again(self, store: Store, other: Store, worker: str) -> None:
        """Everything that came in the meantime, in order."""
        store.queue("a", Pause())
        jobs = put(store, make_record(queue="a"), make_record(queue="a"))
        other.queue("a", Resume())
        assert claim_ids(store, worker, 5) == [record.id for record in jobs]

    def test_pausing_twice_is_pausing_once(self, store: Store, worker: str) -> None:
        """And so is resuming, also a queue that nobody paused."""
        store.queue("a", Pause())
        store.queue("a", Pause())
        store.queue("a", Resume())
        store.queue("a", Resume())
        put(store, make_record(queue="a"))
        assert len(claim(store, worker)) == 1

    def test_a_paused_queue_lets_go_on_what_runs(self, store: Store, worker: str) -> None:
        """A pause stops no attempt."""
        running = start(store, worker)
        store.queue(running.queue, Pause())
        assert list(settle(store, worker, Succeeded(attempt(running), "1")).done)

    def test_only_queued_jobs_are_claimed(self, store: Store, worker: str) -> None:
        """Whatever else a job is, it is not handed out."""
        states = [state for state in JobState if state is not JobState.QUEUED]
        put(store, *(make_record(state=state) for state in states))
        assert claim(store, worker, 20) == []

    def test_a_delayed_job_waits_for_its_time(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It is handed out once it is due and a sweep has queued it."""
        (record,) = put(store, make_record(delay=60))
        clock.advance(59)
        store.sweep(100, {})
        assert claim(store, worker) == []
        clock.advance(1)
        store.sweep(100, {})
        assert claim_ids(store, worker) == [record.id]

    def test_a_retry_lines_up_anew(self, store: Store, clock: PatientClock, worker: str) -> None:
        """Its rank is of the time when it was ready again."""
        running = start(store, worker)
        clock.advance(1)
        (newer,) = put(store, make_record(at=clock.now()))
        clock.advance(1)
        settle(store, worker, Again(attempt(running), clock.now()))
        assert claim_ids(store, worker, 2) == [newer.id, running.id]

    def test_settling_and_claiming_is_one_step(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """What an outcome queues, the same exchange may claim."""
        running = start(store, worker)
        done = store.exchange(worker, [Again(attempt(running), clock.now())], Want(1))
        assert list(done.done) == [attempt(running)]
        assert [(job.id, job.fence) for job in done.claimed] == [(running.id, 2)]

    def test_a_new_attempt_starts_without_progress(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The error of the last one stays to be read, its progress does not."""
        running = start(store, worker)
        holding = attempt(running)
        store.note(worker, [holding], [Note(holding, Progress(1, 2))])
        settle(store, worker, Again(holding, clock.now(), OOPS))
        (again,) = claim(store, worker)
        assert (again.progress, again.progress_at) == (None, None)
        assert (again.error, again.failures, again.attempts, again.fence) == (OOPS, 1, 2, 2)

    def test_a_job_that_has_crashed_comes_alone(self, store: Store, worker: str) -> None:
        """If it kills this worker as well, it takes no other job along."""
        first, crashed, last = (
            make_record(at=ago(3)),
            make_record(at=ago(2), crashes=1),
            make_record(at=ago(1)),
        )
        put(store, first, crashed, last)
        assert claim_ids(store, worker, 5) == [first.id]
        assert claim_ids(store, worker, 5) == [crashed.id]
        assert claim_ids(store, worker, 5) == [last.id]
