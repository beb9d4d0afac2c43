"""A sweep hints again at a queue that nobody seems to work on: every store of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_later.core.clock import VirtualClock
from flask_later.core.exchange import Want
from flask_later.core.job import Hint, JobRecord, JobState, Resume
from flask_later.core.store import MAX_REHINTS, REHINT_AFTER, Pause, Store, WorkerRecord
from flask_later.stores.memory import MemoryStore
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import START, make_record


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> Iterator[Store]:
    stores = {
        "memory": lambda: MemoryStore(clock),
        "sqlite": lambda: SQLiteStore(tmp_path / "later.sqlite3", clock),
    }
    store: Store = stores[request.param]()
    store.open()
    yield store
    store.close()


def put(store: Store, *records: JobRecord) -> list[JobRecord]:
    store.add(records)
    return list(records)


def swept(store: Store) -> list[str]:
    """Sweep, and return the ids hinted at, in no order."""
    return sorted(hint.job_id for hint in store.sweep(100, {}).hints)


def ids(*records: JobRecord) -> list[str]:
    return sorted(record.id for record in records)


def test_a_queue_that_waits_too_long_is_hinted_at_again(store: Store, clock: VirtualClock) -> None:
    """Once for each job that could run, also for those that came later."""
    (oldest,) = put(store, make_record())
    clock.advance(REHINT_AFTER - 1)
    (newer,) = put(store, make_record(at=clock.now()))
    assert swept(store) == []
    clock.advance(1)
    assert swept(store) == ids(oldest, newer)


def test_a_hint_is_the_same_as_the_first(store: Store, clock: VirtualClock) -> None:
    """It names the store, the queue, the job and its fence."""
    (record,) = put(store, make_record(queue="mail"))
    clock.advance(REHINT_AFTER)
    assert list(store.sweep(100, {}).hints) == [Hint(store.identity, "mail", record.id, 0)]


def test_one_sweep_hints_again_at_a_time(store: Store, clock: VirtualClock) -> None:
    """The others find it done, until the same time has passed once more."""
    (record,) = put(store, make_record())
    clock.advance(2 * REHINT_AFTER)
    assert swept(store) == ids(record)
    clock.advance(REHINT_AFTER - 1)
    assert swept(store) == []
    clock.advance(1)
    assert swept(store) == ids(record)


def test_a_high_priority_does_not_hide_who_waits(store: Store, clock: VirtualClock) -> None:
    """The oldest counts, and not the one that would run next."""
    (oldest,) = put(store, make_record(priority=-100))
    clock.advance(REHINT_AFTER)
    (next_one,) = put(store, make_record(at=clock.now(), priority=100))
    assert swept(store) == ids(oldest, next_one)


def test_each_queue_has_a_time_of_its_own(store: Store, clock: VirtualClock) -> None:
    """That one was hinted at says nothing about another."""
    (mail,) = put(store, make_record(queue="mail"))
    clock.advance(REHINT_AFTER)
    assert swept(store) == ids(mail)
    (slow,) = put(store, make_record(queue="slow"))
    assert swept(store) == ids(slow)


def test_a_paused_queue_is_left_alone(store: Store, clock: VirtualClock) -> None:
    """Nothing of it could be claimed; once it is resumed, the next sweep hints at it."""
    (record,) = put(store, make_record())
    store.queue("default", Pause())
    clock.advance(REHINT_AFTER)
    assert swept(store) == []
    store.queue("default", Resume())
    assert swept(store) == ids(record)


@pytest.mark.parametrize("state", [JobState.HELD, JobState.SCHEDULED])
def test_only_runnable_jobs_are_hinted_at(
    store: Store, clock: VirtualClock, state: JobState
) -> None:
    """One that is held, or waits for its time, is not; nor one that runs."""
    store.register(WorkerRecord("worker-1", "localhost", 4711, clock.now()))
    put(store, make_record())
    assert len(store.exchange("worker-1", (), Want()).claimed) == 1
    later = REHINT_AFTER + 1 if state is JobState.SCHEDULED else 0
    (waiting,) = put(store, make_record(delay=later)._replace(state=state))
    clock.advance(REHINT_AFTER)
    assert swept(store) == []
    (record,) = put(store, make_record())
    assert swept(store) == ids(record)
    assert store.get([waiting.id])[waiting.id].state is state


def test_what_a_sweep_moves_is_hinted_at_once(store: Store, clock: VirtualClock) -> None:
    """However late the sweep comes."""
    (record,) = put(store, make_record(delay=1))
    clock.advance(REHINT_AFTER + 2)
    assert swept(store) == ids(record)


def test_the_hints_of_one_sweep_are_bounded(store: Store, clock: VirtualClock) -> None:
    """A backlog is not answered with as many messages."""
    put(store, *(make_record() for _ in range(MAX_REHINTS + 5)))
    clock.advance(REHINT_AFTER)
    hints = store.sweep(100, {}).hints
    assert len(hints) == MAX_REHINTS
    assert len({hint.job_id for hint in hints}) == MAX_REHINTS
