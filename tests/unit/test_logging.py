"""Log records that say which job they belong to."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import current_app
from tests.shop import PATIENCE, Shop

from flask_later import JobState, Later, Retry, current_job
from flask_later.runtime.log_records import install_record_factory

_logger = logging.getLogger("shop")


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


@pytest.fixture
def factory() -> Iterator[None]:
    """Put the factory for records back after the test."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


def facts(caplog: pytest.LogCaptureFixture, message: str) -> list[tuple[Any, ...]]:
    """Return what the records with *message* know of a job."""
    return [
        (record.later_job_id, record.later_task, record.later_attempt)  # type: ignore[attr-defined]
        for record in caplog.records
        if record.getMessage() == message
    ]


def test_records_of_a_job_carry_its_id_task_and_attempt(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever logger it uses: its own, the app's, or that of a library."""

    @shop.later.task(name="shop.build")
    def build() -> None:
        _logger.warning("seen")
        current_app.logger.warning("seen")
        logging.getLogger("library").warning("seen")

    job = shop.run(build)
    assert facts(caplog, "seen") == [(job.id, "shop.build", 1)] * 3


def test_records_of_an_async_job_do_as_well(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Also those of the tasks that it starts; two jobs at a time do not mix."""
    meeting = threading.Barrier(2)

    @shop.later.task(name="shop.build")
    async def build(number: int) -> None:
        async def inner() -> None:
            await asyncio.to_thread(meeting.wait, PATIENCE)
            _logger.warning("seen %d", number)

        await asyncio.gather(inner())

    jobs = [shop.enqueue(build, number) for number in range(2)]
    for number, job in enumerate(jobs):
        job.wait(timeout=PATIENCE)
        assert facts(caplog, f"seen {number}") == [(job.id, "shop.build", 1)]


def test_records_outside_of_jobs_have_empty_fields(caplog: pytest.LogCaptureFixture) -> None:
    """So that a format may always name them."""
    install_record_factory()
    _logger.warning("seen")
    assert facts(caplog, "seen") == [("", "", "")]
    record = next(each for each in caplog.records if each.getMessage() == "seen")
    assert logging.Formatter("[%(later_job_id)s] %(message)s").format(record) == "[] seen"


def test_a_task_that_is_called_logs_as_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    """There is no job."""
    install_record_factory()
    task = Later().task(name="called")(lambda: _logger.warning("seen"))
    task()
    assert facts(caplog, "seen") == [("", "", "")]


def test_the_names_leave_room_for_an_extra(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """``logging`` refuses an extra that a record has already; ours begin with ``later_``."""

    @shop.later.task
    def build() -> None:
        _logger.warning("seen", extra={"job_id": 1, "task": 2, "job": 3})

    assert shop.run(build).state is JobState.SUCCEEDED
    assert len(facts(caplog, "seen")) == 1


@pytest.mark.usefixtures("factory")
def test_a_factory_of_the_apps_own_is_kept() -> None:
    """Ours calls it, and is set once however many apps there are."""

    class OwnRecord(logging.LogRecord):
        pass

    logging.setLogRecordFactory(OwnRecord)
    install_record_factory()
    ours = logging.getLogRecordFactory()
    install_record_factory()
    assert logging.getLogRecordFactory() is ours
    assert isinstance(ours("shop", 20, "f", 1, "m", (), None), OwnRecord)


def test_a_line_of_a_job_is_a_record_of_it(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """``current_job.log`` goes to the logger ``flask_later.job``."""
    caplog.set_level(logging.INFO, "flask_later.job")

    @shop.later.task(name="shop.build")
    def build() -> None:
        current_job.log("seen")

    job = shop.run(build)
    assert facts(caplog, "seen") == [(job.id, "shop.build", 1)]


def test_a_later_attempt_says_so(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The number goes up with each."""

    @shop.later.task(name="shop.build", retry=Retry(max_attempts=2, backoff=0))
    def build() -> None:
        _logger.warning("seen")
        raise LookupError

    job = shop.run(build)
    assert facts(caplog, "seen") == [(job.id, "shop.build", 1), (job.id, "shop.build", 2)]
