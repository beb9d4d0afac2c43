"""What becomes of a job that nobody begins in time, or whose worker dies, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.death import end_process
from tests.shop import Shop

from flask_later import JobState, TryAgain, current_job, signals
from flask_later.core.engine import Ran
from flask_later.core.exchange import NOTHING, Claim, Released, Want
from flask_later.core.job import Cancel, JobRecord
from flask_later.core.states import MAX_CRASHES
from flask_later.core.store import WorkerRecord
from flask_later.errors import JobCancelledError, JobExpiredError
from flask_later.stores.sqlite import SQLiteStore

SIGNALS = ["job_failed", "job_retried", "job_released", "job_rescued", "job_cancelled"]


def listen(shop: Shop) -> list[tuple[str, JobRecord]]:
    """Return what the signals tell from now on."""
    told: list[tuple[str, JobRecord]] = []

    def connect(name: str) -> None:
        def receive(sender: object, job: JobRecord, **_: object) -> None:
            told.append((name, job))

        getattr(signals, name).connect(receive, shop.app, weak=False)

    for name in SIGNALS:
        connect(name)
    return told


def names_of(told: list[tuple[str, JobRecord]]) -> list[str]:
    return [name for name, _ in told]


def add(a: int, b: int = 1) -> int:
    return a + b


def pass_time(shop: Shop, seconds: float) -> None:
    clock: Any = shop.state.clock
    clock.advance(seconds)


# Expiry


@pytest.mark.parametrize("expires", [10, timedelta(seconds=10)], ids=str)
def test_a_job_that_has_expired_does_not_run(manual: Shop, expires: Any) -> None:
    """Its result says why, and it is told as cancelled."""
    told = listen(manual)
    job = manual.enqueue(manual.later.task(add).using(expires=expires), 1)
    pass_time(manual, 10)
    assert manual.work() == 0
    job = job.refresh()
    assert (job.state, told) == (JobState.CANCELLED, [("job_cancelled", job.record)])
    with pytest.raises(JobExpiredError, match=r"No worker had begun.*job\.retry\(\)") as caught:
        _ = job.result
    assert isinstance(caught.value, JobCancelledError)


def test_maintenance_tells_what_has_expired(manual: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Where no worker looks, because all of them are busy or none is there."""
    caplog.set_level(logging.INFO, "flask_later.jobs")
    told = listen(manual)
    job = manual.enqueue(manual.later.task(add).using(expires=10), 1)
    pass_time(manual, 10)
    manual.process.maintenance.look()
    assert told == [("job_cancelled", job.refresh().record)]
    (record,) = [each for each in caplog.records if each.name == "flask_later.jobs"]
    assert (record.levelno, record.later_job_id) == (logging.INFO, job.id)


def test_a_delay_comes_before_the_time_to_expire(manual: Shop) -> None:
    """So ``expires`` says how long a job may wait for a worker, also with a delay."""
    job = manual.enqueue(manual.later.task(add).using(delay=60, expires=10), 1)
    pass_time(manual, 69)
    manual.process.maintenance.look()
    assert manual.work() == 1
    assert job.refresh().result == 2


def test_a_task_may_expire_by_itself(manual: Shop) -> None:
    """The option of the task holds for all its jobs, unless one says otherwise."""
    task = manual.later.task(expires=10)(add)
    jobs = [manual.enqueue(each, 1) for each in (task, task.using(expires=None))]
    pass_time(manual, 10)
    manual.work()
    states = [job.refresh().state for job in jobs]
    assert states == [JobState.CANCELLED, JobState.SUCCEEDED]


def test_a_job_may_expire_beyond_all_calendars(manual: Shop) -> None:
    """Then it does not."""
    at = manual.state.clock.now().replace(year=9999)
    job = manual.enqueue(manual.later.task(add).using(at=at, expires=1e9), 1)
    assert job.record.expires_at is None


# Unique keys


def test_a_key_is_free_once_its_job_has_started(manual: Shop) -> None:
    """A change that comes while the job runs needs another job."""
    found: list[bool] = []

    @manual.later.task
    def index() -> None:
        found.append(index.using(**unique).enqueue().duplicate)

    unique: dict[str, Any] = {"unique_key": "index", "unique_until": "started"}
    first = manual.enqueue(index.using(**unique))
    assert manual.enqueue(index.using(**unique)).duplicate
    assert manual.process.worker.run() is Ran.RAN
    assert found == [False]
    assert first.refresh().state is JobState.SUCCEEDED


def test_a_key_is_held_for_a_period(manual: Shop) -> None:
    """The duplicate is the job that has already run, with its result."""
    task = manual.later.task(add).using(unique_key="k", unique_for=timedelta(minutes=1))
    first = manual.enqueue(task, 1)
    manual.work()
    pass_time(manual, 59)
    second = manual.enqueue(task, 1)
    assert (second.id, second.duplicate, second.result) == (first.id, True, 2)
    pass_time(manual, 1)
    assert not manual.enqueue(task, 1).duplicate


# What the store knows better


def test_a_request_to_cancel_that_the_worker_has_not_heard_of_is_told(manual: Shop) -> None:
    """Another process asked, and the attempt was over before the next beat."""
    told = listen(manual)

    @manual.later.task
    def not_now() -> None:
        manual.store.command(current_job.id, Cancel())
        raise TryAgain(delay=5)

    job = manual.enqueue(not_now)
    manual.work()
    assert told == [("job_cancelled", job.refresh().record)]


# Crashes and releases


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Shop]:
    """On a file, where workers can die before the store does."""
    with Shop(MANUAL=True, STORE=f"sqlite:///{tmp_path}/later.sqlite3") as shop:
        yield shop


def crash(shop: Shop, number: int) -> None:
    """Let a worker claim the job and die, and maintenance find it."""
    store = shop.store
    assert isinstance(store, SQLiteStore)
    worker = f"worker-{number}"
    store.register(WorkerRecord(worker, "localhost", 1, shop.state.clock.now()))
    assert store.exchange(worker, (), Want(1)).claimed
    end_process(store, worker)
    shop.process.maintenance.look()


def test_a_job_that_kills_its_workers_fails_at_the_third(
    durable: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told each time, and one error in the log names the task."""
    told = listen(durable)
    job = durable.enqueue(durable.later.task(name="poison")(add), 1)
    for number in range(MAX_CRASHES):
        crash(durable, number)
    assert names_of(told) == ["job_rescued", "job_rescued", "job_failed"]
    assert [record.crashes for _, record in told] == [1, 2, 3]
    record = job.refresh().record
    assert (record.state, record.failures, told[-1][1]) == (JobState.FAILED, 0, record)
    assert record.error is not None
    assert "job.retry()" in record.error.message
    lines = [each for each in caplog.records if each.name == "flask_later.jobs"]
    assert [each.levelno for each in lines] == [logging.WARNING] * 2 + [logging.ERROR]
    assert all("poison" in each.getMessage() and each.later_job_id == job.id for each in lines)


def test_a_cancelled_job_whose_worker_died_is_told_as_cancelled(durable: Shop) -> None:
    """Nobody wants it to run again."""
    told = listen(durable)
    job = durable.enqueue(durable.later.task(add), 1)
    store: Any = durable.store
    store.register(WorkerRecord("w", "localhost", 1, durable.state.clock.now()))
    store.exchange("w", (), Want(1))
    job.cancel()
    end_process(store, "w")
    durable.process.maintenance.look()
    assert told == [("job_cancelled", job.refresh().record)]


def test_the_third_release_names_the_worker_command(
    manual: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The job takes longer than the processes of the web server live."""
    job = manual.enqueue(manual.later.task(name="long")(add), 1)
    for number in range(1, 4):
        (running,) = manual.store.exchange("w", (), Want(1)).claimed
        manual.store.exchange("w", [Released(Claim(running.id, running.fence))], NOTHING)
        assert job.refresh().record.releases == number
        signals.send(signals.job_released, manual.app, job=job.refresh().record, exception=None)
    (record,) = [each for each in caplog.records if each.name == "flask_later.jobs"]
    assert record.levelno == logging.WARNING
    assert "long" in record.getMessage()
    assert "flask later worker" in record.getMessage()
