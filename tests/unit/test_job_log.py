"""What becomes of jobs is logged, once, with the job's id and task on the record."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from flask import Flask

from flask_later import Failure, Later, Retry, TryAgain
from flask_later.testing import advance, run_all
from flask_later.testing.records import make_record

later = Later()


@later.task
def failing() -> None:
    raise ValueError("no mail server")


@later.task(retry=Retry(max_attempts=2, backoff=10, jitter=False))
def failing_twice() -> None:
    raise ValueError("no mail server")


@later.task(retry=Retry(max_attempts=2))
def not_now() -> None:
    raise TryAgain(delay=3600)


@later.task
def deliberate() -> None:
    raise Failure("There is no such page.")


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("shop")
    app.testing = True
    later.init_app(app)
    with app.app_context():
        yield app


def jobs_log(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "flask_later.jobs"]


def test_a_failed_job_is_logged_with_its_traceback(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure that nobody listens to is still seen."""
    job = failing.enqueue()
    run_all(app)
    (record,) = jobs_log(caplog)
    assert record.levelno == logging.ERROR
    assert (record.later_job_id, record.later_task) == (job.id, job.task)
    assert "no mail server" in caplog.text


def test_a_retry_is_logged_as_a_warning(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """What runs again is no error yet."""
    failing_twice.enqueue()
    run_all(app)
    assert [record.levelno for record in jobs_log(caplog)] == [logging.WARNING]
    advance(app, 10)
    assert [record.levelno for record in jobs_log(caplog)] == [logging.WARNING, logging.ERROR]


def test_not_now_is_not_logged(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """TryAgain is not a failure."""
    not_now.enqueue()
    run_all(app)
    assert jobs_log(caplog) == []


def test_a_parked_job_is_logged_with_the_reason(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what to do about it."""
    state = app.extensions["later"]
    now = state.clock.now()
    state.store.add([make_record(task="shop.renamed", created_at=now, run_at=now)])
    run_all(app)
    (record,) = jobs_log(caplog)
    assert record.later_task == "shop.renamed"
    assert "aliases=" in record.getMessage()


def test_a_failure_of_the_tasks_own_words_has_no_traceback(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """The task has said all there is to say."""
    deliberate.enqueue()
    run_all(app)
    (record,) = jobs_log(caplog)
    assert "There is no such page." in record.getMessage()
    assert record.exc_info is None


def test_two_apps_log_each_failure_once(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """A second app does not make the lines double."""
    later.init_app(Flask("second"))
    failing.enqueue()
    run_all(app)
    assert len(jobs_log(caplog)) == 1
