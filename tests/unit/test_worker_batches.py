"""Short jobs are claimed and settled several at a time, and nobody has to wait for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later import Job, JobState, signals
from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Handover, Outcome, Released, Want
from flask_later.runtime.hand import Hand, Pace
from flask_later.stores.memory import MemoryStore
from flask_later.testing.records import make_record


class CountingStore(MemoryStore):
    """Keeps how many jobs each exchange settled and handed out."""

    def open(self) -> None:
        super().open()
        self.exchanges: list[tuple[int, int]] = []

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        handover = super().exchange(worker, outcomes, want)
        self.exchanges.append((len(outcomes), len(handover.claimed)))
        return handover


def make_shop(
    kind: type[CountingStore] = CountingStore, **settings: Any
) -> tuple[Shop, CountingStore]:
    shop = Shop(**settings)
    clock = SystemClock()
    store = kind(clock)
    shop.__dict__["app"] = app = shop.make_app()
    app.extensions[PREPARED_KEY] = Prepared(clock, store)
    return shop, store


@pytest.fixture
def counted() -> Iterator[tuple[Shop, CountingStore]]:
    """One thread, that has not started yet."""
    shop, store = make_shop(THREADS=1)
    with shop:
        yield shop, store


def many(shop: Shop, calls: Sequence[Any]) -> list[Job[Any]]:
    with shop.app.app_context():
        return shop.later.enqueue_many(calls)


def test_short_jobs_share_their_exchanges(counted: tuple[Shop, CountingStore]) -> None:
    """The more the shorter they are, and each is run once, in its order."""
    shop, store = counted
    order: list[int] = []
    note = shop.later.task(name="note")(order.append)
    shop.later.start(shop.app)
    many(shop, [note.call(number) for number in range(200)])
    # On a busy machine a short job may look long: then the rest is given back, and claimed again.
    until(lambda: shop.store.stats()[0].counts.get(JobState.SUCCEEDED) == 200)
    assert order == [*range(200)]
    assert 1 < max(claimed for _, claimed in store.exchanges) <= 32


def test_a_task_that_is_not_known_to_be_short_is_run_alone(
    counted: tuple[Shop, CountingStore],
) -> None:
    """What was claimed with it is given back before it begins, and does not count as released."""
    shop, _ = counted
    gate, began = shop.gate(), threading.Event()

    @shop.later.task
    def short() -> None:
        pass

    @shop.later.task
    def long() -> None:
        began.set()
        gate.wait(PATIENCE)

    shop.later.start(shop.app)
    jobs = many(shop, [*(short.call() for _ in range(60)), *(long.call() for _ in range(3))])
    assert began.wait(PATIENCE)
    states = [job.refresh().record for job in jobs[60:]]
    assert {job.refresh().state for job in jobs[:60]} == {JobState.SUCCEEDED}
    assert [(each.state, each.releases, each.attempts) for each in states] == [
        (JobState.RUNNING, 0, 1),
        (JobState.QUEUED, 0, 0),
        (JobState.QUEUED, 0, 0),
    ]
    gate.set()
    assert {job.wait(timeout=PATIENCE).state for job in jobs} == {JobState.SUCCEEDED}


def test_a_job_that_takes_long_for_once_holds_nobody_up(
    counted: tuple[Shop, CountingStore],
) -> None:
    """The outcomes before it are told, and the jobs behind it are given back to others."""
    shop, _ = counted
    gate, began = shop.gate(), threading.Event()
    released: list[object] = []
    signals.job_released.connect(lambda _, **facts: released.append(facts), shop.app, weak=False)

    @shop.later.task
    def mostly_short(number: int) -> None:
        if number == 150:
            began.set()
            gate.wait(PATIENCE)

    shop.later.start(shop.app)
    jobs = many(shop, [mostly_short.call(number) for number in range(200)])
    assert began.wait(PATIENCE)
    until(lambda: {job.refresh().state for job in jobs[:150]} == {JobState.SUCCEEDED})
    until(lambda: {job.refresh().state for job in jobs[151:]} == {JobState.QUEUED})
    assert {job.refresh().record.releases for job in jobs[151:]} == {0}
    gate.set()
    assert {job.wait(timeout=PATIENCE).state for job in jobs} == {JobState.SUCCEEDED}
    assert not released


def test_idle_threads_take_what_lies_behind_a_long_job() -> None:
    """They are told of it."""
    shop, _ = make_shop(THREADS=2)
    with shop:
        gate, began = shop.gate(), threading.Event()

        @shop.later.task
        def mostly_short(number: int) -> None:
            if number == 150:
                began.set()
                gate.wait(PATIENCE)

        shop.later.start(shop.app)
        jobs = many(shop, [mostly_short.call(number) for number in range(200)])
        assert began.wait(PATIENCE)
        others = [*jobs[:150], *jobs[151:]]
        until(lambda: {job.refresh().state for job in others} == {JobState.SUCCEEDED})


def test_a_stop_gives_back_what_has_not_begun(counted: tuple[Shop, CountingStore]) -> None:
    """Whatever the thread that has it in hand is at."""
    shop, store = counted
    gate, began = shop.gate(), threading.Event()

    @shop.later.task
    def mostly_short(number: int) -> None:
        if number == 150:
            began.set()
            gate.wait(PATIENCE)

    shop.later.start(shop.app)
    jobs = many(shop, [mostly_short.call(number) for number in range(200)])
    assert began.wait(PATIENCE)
    shop.later.stop(shop.app, 0.01)
    left = store.get([job.id for job in jobs])
    assert {left[job.id].state for job in jobs[:150]} == {JobState.SUCCEEDED}
    assert {left[job.id].state for job in jobs[150:]} == {JobState.QUEUED}
    assert {left[job.id].attempts for job in jobs[150:]} == {0}


def test_a_task_is_short_until_it_is_not() -> None:
    """One that is not known is not, and one that was long for once still is."""
    pace = Pace()
    assert not pace.is_short("note")
    pace.note("note", 0.0001)
    assert pace.is_short("note")
    pace.note("note", 0.1)
    assert pace.is_short("note")
    pace.note("note", 0.1)
    assert not pace.is_short("note")


def test_a_hand_gives_each_job_to_one() -> None:
    """To its own thread, or to who relieves it."""
    hand: Hand[str] = Hand()
    records = [make_record() for _ in range(3)]
    hand.claim(records, len(records))
    assert hand.begin() == records[0]
    hand.end("one")
    assert hand.take_claimed() == records[1:]
    assert hand.take_ended() == ["one"]
    assert hand.begin() is None
    assert hand.is_empty


class SlowToTakeBack(CountingStore):
    """A disk that is busy whenever jobs are given back."""

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        if any(isinstance(outcome, Released) for outcome in outcomes):
            time.sleep(0.01)
        return super().exchange(worker, outcomes, want)


def test_giving_back_does_not_make_a_job_long() -> None:
    """Or what comes after it would be given back too, and so on for ever."""
    shop, store = make_shop(SlowToTakeBack, THREADS=1)
    with shop:

        @shop.later.task
        def mostly_short(number: int) -> None:
            if number in (20, 21):
                time.sleep(0.01)

        shop.later.start(shop.app)
        jobs = many(shop, [mostly_short.call(number) for number in range(200)])
        until(lambda: store.stats()[0].counts == {JobState.SUCCEEDED: len(jobs)})
        assert len(store.exchanges) < 120
