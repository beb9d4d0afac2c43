"""The system's clock is put forward and back: what depends on it, and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flask_later.core.clock import VirtualClock
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import WorkerRecord
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

HOUR, DAY = 3600.0, 86_400.0


class SteppedClock(VirtualClock):
    """Its date can be set; the time since the boot goes on as if nothing had happened."""

    def step(self, seconds: float) -> None:
        self._start += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def store(tmp_path: Path, clock: SteppedClock) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "later.sqlite3", clock)
    store.open()
    store.register(WorkerRecord("ours", "localhost", 1, clock.now()))
    yield store
    store.close()


def running(store: SQLiteStore, clock: SteppedClock) -> JobRecord:
    """Store a job and have our worker claim it."""
    store.add([make_record(at=clock.now())])
    [job] = store.exchange("ours", [], Want()).claimed
    return job


def delayed(store: SQLiteStore, clock: SteppedClock, seconds: float) -> str:
    run_at = clock.now() + timedelta(seconds=seconds)
    record = make_record(at=clock.now())._replace(state=JobState.SCHEDULED, run_at=run_at)
    [added] = store.add([record])
    return added.record.id


def state_of(store: SQLiteStore, job_id: str) -> JobState:
    return store.get([job_id])[job_id].state


@pytest.mark.parametrize("step", [-HOUR, HOUR, DAY])
def test_a_step_of_the_clock_takes_no_attempt_away(
    store: SQLiteStore, clock: SteppedClock, step: float
) -> None:
    """Whether a worker lives is not told by the date, and its outcome counts."""
    job = running(store, clock)
    clock.step(step)
    assert store.sweep(100, {}).rescued == 0
    outcome = Succeeded(Claim(job.id, job.fence), "1")
    assert list(store.exchange("ours", [outcome], NOTHING).done) == [outcome.claim]
    assert [worker.id for worker in store.workers()] == ["ours"]


def test_a_delay_is_until_a_date(store: SQLiteStore, clock: SteppedClock) -> None:
    """Put back, the clock takes as much longer to get there; put forward, the job is due."""
    job = delayed(store, clock, 60.0)
    clock.step(-HOUR)
    clock.advance(61.0)
    store.sweep(100, {})
    assert state_of(store, job) is JobState.SCHEDULED
    clock.step(HOUR)
    store.sweep(100, {})
    assert state_of(store, job) is JobState.QUEUED


def test_a_clock_that_is_put_back_holds_up_no_job(store: SQLiteStore, clock: SteppedClock) -> None:
    """What is queued already is handed out, although its time seems to be still to come."""
    store.add([make_record(at=clock.now())])
    clock.step(-DAY)
    assert len(store.exchange("ours", [], Want()).claimed) == 1
