"""Jobs that are stored as claimed by a thread that stands by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.sqlite.files import raw

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Want
from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import Limits, WorkerRecord
from flask_later.errors import QueueFullError, StoreBusyError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

PATIENCE = 30.0
#: As long as nobody wakes the thread.
NEVER = 3600.0


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    clock = SystemClock()
    with closing(SQLiteStore(path, clock, Limits(max_pending=1), patience=0.05)) as store:
        store.open()
        store.register(WorkerRecord("w", "localhost", 4711, clock.now()))
        yield store


class Idler:
    """A thread that stands by, and what it has been given."""

    def __init__(self, store: SQLiteStore) -> None:
        self.given: list[JobRecord] = []
        self._store = store
        self._thread = threading.Thread(target=self._stand_by, daemon=True)
        self._thread.start()
        wait_until(store._waiting._waiters.any)

    def _stand_by(self) -> None:
        self.given += self._store.stand_by("w", Want(), NEVER)

    def join(self) -> list[JobRecord]:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "nobody told the thread"
        return self.given


def wait_until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def states(path: Path) -> list[tuple[str, str | None, int]]:
    with raw(path) as db:
        return db.execute("SELECT state, worker, fence FROM job").fetchall()


def test_one_commit_stores_and_claims(store: SQLiteStore, path: Path) -> None:
    """The answer is the job as its caller made it; who stands by has it in hand."""
    idler, record = Idler(store), make_record()
    (added,) = store.add([record])
    assert (added.record, added.created, added.claimed) == (record, True, True)
    assert states(path) == [("running", "w", 1)]
    (running,) = idler.join()
    assert running == store.get([record.id])[record.id]


def test_a_large_job_comes_with_its_arguments(store: SQLiteStore) -> None:
    """They stand in a file, and the row refers to it."""
    idler, record = Idler(store), make_record(payload='"' + "x" * 100_000 + '"')
    (added,) = store.add([record])
    (running,) = idler.join()
    assert added.claimed
    assert added.record.payload == running.payload == record.payload


def test_a_claimed_job_does_not_wait(store: SQLiteStore) -> None:
    """It takes no place of those that may."""
    idler = Idler(store)
    store.add([make_record()])
    idler.join()
    assert store.add([make_record()])[0].created
    with pytest.raises(QueueFullError):
        store.add([make_record()])


def test_who_was_woken_for_a_job_that_is_refused_gets_none(store: SQLiteStore) -> None:
    """It was woken before anybody knew, and must not wait for ever."""
    store.add([make_record(delay=3600, at=SystemClock().now())])
    idler = Idler(store)
    with pytest.raises(QueueFullError):
        store.add([make_record()])
    assert idler.join() == []


def test_who_stands_by_sleeps_on_while_the_file_is_locked(store: SQLiteStore, path: Path) -> None:
    """Nothing has begun that it could be woken for."""
    idler = Idler(store)
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            store.add([make_record()])
        assert store._waiting._waiters.any()
    record = make_record()
    assert store.add([record])[0].claimed
    assert [each.id for each in idler.join()] == [record.id]


def test_of_several_jobs_none_is_claimed(store: SQLiteStore, path: Path) -> None:
    """Whoever is woken for them takes as many as it wants."""
    with closing(SQLiteStore(path, SystemClock())) as roomy:
        roomy.open()
        idler = Idler(roomy)
        added = roomy.add([make_record(), make_record()])
        roomy.wake([added[0].record.queue])
        assert idler.join() == []
        assert [each.claimed for each in added] == [False, False]
        assert {state for state, *_ in states(path)} == {JobState.QUEUED.value}


def test_a_worker_that_was_forgotten_is_known_again(store: SQLiteStore, path: Path) -> None:
    """Else the first sweep would take the job from it."""
    with raw(path) as db:
        db.execute("DELETE FROM worker")
    idler = Idler(store)
    assert store.add([make_record()])[0].claimed
    idler.join()
    assert [each.id for each in store.workers()] == ["w"]
    assert store.sweep(100, {}).rescued == 0
