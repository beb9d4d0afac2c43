"""Standing by: whoever has nothing to do may be given a job in the commit that stores it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from flask_later.core.exchange import Succeeded, Want
from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import Pause, Store
from flask_later.testing.records import make_record

from .base import PATIENCE, ContractBase, PatientClock, attempt, claim, now_of, put, settle
from .waiting import LONG


@contextmanager
def standing_by(
    store: Store, clock: PatientClock, worker: str, queues: tuple[str, ...] | None = None
) -> Generator[list[JobRecord]]:
    """A thread that stands by, and has to be back after the block; fills in what it was given."""

    def stand_by() -> None:
        given.extend(store.stand_by(worker, Want(1, queues), LONG))
        clock.someone_waits.set()
        returned.set()

    given: list[JobRecord] = []
    returned = threading.Event()
    clock.someone_waits.clear()
    thread = threading.Thread(target=stand_by, daemon=True)
    thread.start()
    assert clock.someone_waits.wait(PATIENCE)
    yield given
    # Less than the patience of the clock, which would end the wait too.
    assert returned.wait(PATIENCE / 2), "nobody woke the thread"
    thread.join()


def hand(store: Store, record: JobRecord) -> bool:
    """Store *record* as an enqueue does; return whether it was given to who stands by."""
    (added,) = store.add([record])
    assert added.record == record, "the answer is what was stored, whoever has got it"
    if not added.claimed:
        store.wake([record.queue])
    return added.claimed


def is_at_rest(store: Store, record: JobRecord) -> bool:
    return now_of(store, record) == record


class StandingByContract(ContractBase):
    def test_who_stands_by_gets_what_is_stored(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """At once, or by its own claim: it is the first attempt, and nobody else has it."""
        record = make_record()
        with standing_by(store, clock, worker) as given:
            claimed = hand(store, record)
        assert [each.id for each in given] == [record.id] * claimed
        (running,) = given or claim(store, worker)
        assert running == now_of(store, record)
        assert (running.state, running.worker) == (JobState.RUNNING, worker)
        assert (running.fence, running.attempts) == (record.fence + 1, 1)
        assert running.started_at == clock.now()
        assert claim(store, worker) == []

    def test_what_it_got_is_settled_as_any_other(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Under the fence of its claim."""
        with standing_by(store, clock, worker, ("a",)) as given:
            hand(store, make_record(queue="a"))
        (running,) = given or claim(store, worker)
        assert settle(store, worker, Succeeded(attempt(running), "1")).done == [attempt(running)]
        assert now_of(store, running).state is JobState.SUCCEEDED

    def test_it_is_given_back_with_its_worker(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """A process that stops retires it, whether its threads have heard of the job or not."""
        record = make_record()
        with standing_by(store, clock, worker) as given:
            hand(store, record)
        _ = given or claim(store, worker)
        store.retire(worker)
        assert now_of(store, record).state is JobState.QUEUED

    def test_a_better_job_comes_first(self, store: Store, clock: PatientClock, worker: str) -> None:
        """One that is there already, and nobody was woken for."""
        better, other = make_record(priority=5), make_record(priority=4)
        worse = make_record()
        with standing_by(store, clock, worker) as given:
            put(store, better, other)
            assert not hand(store, worse)
        assert given == []
        assert [each.id for each in claim(store, worker, 3)] == [better.id, other.id, worse.id]

    def test_of_a_paused_queue_nothing_is_given(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Its jobs cannot be claimed in any way."""
        record = make_record(queue="a")
        store.queue("a", Pause())
        with standing_by(store, clock, worker) as given:
            assert not hand(store, record)
        assert given == []
        assert is_at_rest(store, record)

    def test_what_is_not_due_is_not_given(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It waits for its time, as the thread does."""
        record = make_record(delay=60)
        with standing_by(store, clock, worker) as given:
            assert not hand(store, record)
        assert given == []
        assert is_at_rest(store, record)

    def test_of_another_queue_nothing_is_given(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """A worker takes from its own queues only."""
        record = make_record(queue="b")
        with standing_by(store, clock, worker, ("a",)) as given:
            assert not hand(store, record)
            clock.advance(LONG)
        assert given == []
        assert is_at_rest(store, record)

    def test_what_has_expired_is_not_given(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It is for the next claim to cancel it."""
        record = make_record(expires_at=clock.now())
        with standing_by(store, clock, worker) as given:
            assert not hand(store, record)
        assert given == []
        assert is_at_rest(store, record)

    def test_a_duplicate_is_not_given(
        self, store: Store, clock: PatientClock, worker: str, rival: str
    ) -> None:
        """It was stored before, and has been claimed by somebody else."""
        record = make_record(unique_key="k")
        put(store, record)
        running: Sequence[JobRecord] = claim(store, rival)
        with standing_by(store, clock, worker) as given:
            for again in (record, make_record(unique_key="k")):
                (added,) = store.add([again])
                assert (added.created, added.claimed) == (False, False)
            store.wake([])
        assert given == []
        assert [now_of(store, record)] == running
