"""Jobs that are failed if they kill their worker once more: one at a time in each process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later import JobState
from flask_later.core.job import JobRecord
from flask_later.core.states import MAX_CRASHES
from flask_later.tasks.ids import new_id


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop(THREADS=4) as shop:
        yield shop


def put(shop: Shop, name: str, *, crashes: int, timeout: float | None = None) -> JobRecord:
    """Store a job that has killed so many workers."""
    with shop.app.app_context():
        like = shop.later.task(name=f"like-{name}")(lambda: None).enqueue().record
    record = like._replace(id=new_id(), task=name, crashes=crashes, timeout=timeout)
    shop.store.add([record])
    shop.store.wake([record.queue])
    return record


def test_jobs_with_a_last_chance_run_one_after_the_other(shop: Shop) -> None:
    """Others run beside them; each gets its turn."""
    gate, ran, at_once = shop.gate(), list[int](), list[int]()

    @shop.later.task(name="suspect")
    def suspect() -> None:
        at_once.append(1)
        ran.append(len(at_once))
        gate.wait(PATIENCE)
        at_once.pop()

    other = shop.later.task(name="other")(lambda: 1)
    records = [put(shop, "suspect", crashes=MAX_CRASHES - 1) for _ in range(3)]
    until(lambda: ran)
    assert shop.run(other).result == 1
    assert ran == [1]
    gate.set()
    for record in records:
        with shop.app.app_context():
            assert shop.later.job(record.id).wait(timeout=PATIENCE).state is JobState.SUCCEEDED
    assert ran == [1, 1, 1]


def test_one_crash_is_no_reason_to_wait(shop: Shop) -> None:
    """After a death all that ran there runs again at once, side by side."""
    together = threading.Barrier(3)
    shop.later.task(name="suspect")(lambda: together.wait(PATIENCE) and None)
    for record in [put(shop, "suspect", crashes=1) for _ in range(3)]:
        with shop.app.app_context():
            assert shop.later.job(record.id).wait(timeout=PATIENCE).state is JobState.SUCCEEDED


def test_one_that_waits_for_its_turn_is_given_back_at_a_stop(shop: Shop) -> None:
    """It has never begun, and does not count."""
    gate, began = shop.gate(), threading.Event()

    @shop.later.task(name="suspect")
    def suspect() -> None:
        began.set()
        gate.wait(PATIENCE)

    records = [put(shop, "suspect", crashes=MAX_CRASHES - 1) for _ in range(2)]

    def states() -> list[JobState]:
        return [shop.store.get([record.id])[record.id].state for record in records]

    until(lambda: began.is_set() and states() == [JobState.RUNNING] * 2)
    # The one that runs uses all of it.
    shop.later.stop(shop.app, PATIENCE / 3)
    after = [shop.store.get([record.id])[record.id] for record in records]
    assert [record.state for record in after] == [JobState.QUEUED] * 2
    assert sorted(record.releases for record in after) == [0, 1]


def test_one_that_overruns_its_timeout_holds_up_no_other(shop: Shop) -> None:
    """Its time begins with its turn; once it is over, the next has its own."""
    gate, began = shop.gate(), list[float]()

    @shop.later.task(name="suspect")
    def suspect() -> None:
        began.append(time.monotonic())
        gate.wait(PATIENCE)

    records = [put(shop, "suspect", crashes=MAX_CRASHES - 1, timeout=0.3) for _ in range(2)]
    for record in records:
        with shop.app.app_context():
            assert shop.later.job(record.id).wait(timeout=PATIENCE).state is JobState.FAILED
    assert len(began) == 2
    assert began[1] - began[0] >= 0.3
