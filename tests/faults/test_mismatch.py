"""Faults 88 to 95: rows that this code cannot make sense of, in the SQLite file.

Most are written by hand, beside Flask-Later: by other versions, by an admin, by an attacker. None
of them runs what the app did not register, and none holds up the jobs behind it.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later import Job, JobState
from flask_later.core.store import EVERYTHING


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "later.sqlite3"


@pytest.fixture
def shop(path: Path) -> Iterator[Shop]:
    with Shop(STORE=f"sqlite:///{path}", THREADS=1) as shop:
        yield shop


def add(a: int, b: int = 1) -> int:
    return a + b


def edit(path: Path, statement: str, *values: object) -> int:
    """Do as an admin does with the file; returns the number of rows it changed."""
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as file:
        return file.execute(statement, values).rowcount


def leave_edited(shop: Shop, path: Path, change: str, *values: object) -> Job[Any]:
    """Leave a job that is first in its queue, with a row that was changed by hand."""
    task = shop.later.task(name="add")(add)
    job = shop.enqueue(task.using(delay=3600), 4)
    front = "UPDATE job SET state = 'queued', run_at = created_at, rank = 0"
    assert edit(path, f"{front}, {change} WHERE id = ?", *values, job.id) == 1
    return job


def assert_others_run(shop: Shop) -> None:
    task = shop.later.task(name="add")(add)
    assert [shop.run(task, number).result for number in range(3)] == [1, 2, 3]


def reached(job: Job[Any], state: JobState) -> Job[Any]:
    until(lambda: job.refresh().state is state)
    return job.refresh()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.exec", "flask_later.errors.closest", "antigravity.fly", "", "'"]
)
def test_f88_an_unknown_name_is_never_imported_or_run(shop: Shop, path: Path, name: str) -> None:
    """The job is parked at once, for code that knows its task; the others go on."""
    effect = path.with_name("effect")
    payload = f'[["touch {effect}"],{{}}]'
    job = leave_edited(shop, path, "task = ?, payload = ?", name, payload)
    assert_others_run(shop)
    kept = reached(job, JobState.PARKED)
    assert kept.error is not None
    assert (kept.error.type, kept.attempts) == ("UnknownTask", 0)
    assert "antigravity" not in sys.modules
    assert not effect.exists()


def test_f88_a_parked_job_is_not_asked_for_again_and_again(shop: Shop, path: Path) -> None:
    """It is claimed once; only other code, or somebody's ``resume``, makes it runnable."""
    job = leave_edited(shop, path, "task = 'os.system'")
    fence = reached(job, JobState.PARKED).record.fence
    for _ in range(3):
        shop.process.maintenance.look()
        assert_others_run(shop)
    assert job.refresh().record.fence == fence == 1


@pytest.mark.parametrize(
    ("payload", "state", "error"),
    [
        ("[[],{}]", JobState.PARKED, "ArgumentsError"),
        ("[[1,2,3],{}]", JobState.PARKED, "ArgumentsError"),
        ('[[1],{"a":1}]', JobState.PARKED, "ArgumentsError"),
        ('[[1],{"c":1}]', JobState.PARKED, "ArgumentsError"),
    ],
)
def test_f90_arguments_that_no_longer_fit_park_the_job(
    shop: Shop, path: Path, payload: str, state: JobState, error: str
) -> None:
    """It is not called, and not tried again and again."""
    job = leave_edited(shop, path, "payload = ?", payload)
    assert_others_run(shop)
    kept = reached(job, state)
    assert kept.error is not None
    assert (kept.error.type, kept.attempts) == (error, 0)


@pytest.mark.parametrize(
    "payload",
    [
        '[[{"$future":1}],{}]',
        '[[{"$datetime":["2026",1]}],{}]',
        '{"v":2,"args":[1],"kwargs":{}}',
        '[[1],{},{"v":2}]',
    ],
)
def test_f93_a_payload_of_a_newer_version_fails_its_job(
    shop: Shop, path: Path, payload: str
) -> None:
    """It says so, is not called with half of it, and can be retried once the code is there."""
    job = leave_edited(shop, path, "payload = ?", payload)
    assert_others_run(shop)
    failed = reached(job, JobState.FAILED)
    assert failed.error is not None
    assert (failed.error.type, failed.attempts) == ("MalformedPayloadError", 1)
    assert job.retry().state is JobState.QUEUED


@pytest.mark.parametrize(
    "payload", ["", "{", "[[1],{}", "[[1],{}]]", "[[NaN],{}]", "null", "[" * 100_000, "\0", 5]
)
def test_f94_a_payload_that_cannot_be_read_fails_its_job(
    shop: Shop, path: Path, payload: object
) -> None:
    """Nobody could run it, so it does not wait for anybody."""
    job = leave_edited(shop, path, "payload = ?", payload)
    assert_others_run(shop)
    failed = reached(job, JobState.FAILED)
    assert failed.error is not None
    assert failed.error.type == "MalformedPayloadError"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ("payload = x'ff00'", JobState.FAILED),
        ("payload = CAST(x'5bff00' AS TEXT)", JobState.FAILED),
        ("task = CAST(x'ff00' AS TEXT)", JobState.PARKED),
        ("context = '{'", JobState.FAILED),
        ("context = x'ff'", JobState.FAILED),
        ("error = '{'", JobState.SUCCEEDED),
        ("error = '[1]'", JobState.SUCCEEDED),
        ("error = '5'", JobState.SUCCEEDED),
        ("progress = '[]'", JobState.SUCCEEDED),
        ("progress = x'ff'", JobState.SUCCEEDED),
        ("stop = 'sideways'", JobState.SUCCEEDED),
    ],
)
def test_f94_a_row_that_cannot_be_read_blocks_nobody(
    shop: Shop, path: Path, change: str, state: JobState
) -> None:
    """What does not matter for running it is forgotten; otherwise the job ends, with a reason."""
    job = leave_edited(shop, path, change)
    assert_others_run(shop)
    assert reached(job, state).id == job.id
    assert len(shop.store.find(EVERYTHING).records) == 4


@pytest.mark.parametrize(
    "change",
    [
        *(f"{name} = 'many'" for name in ("fence", "attempts", "failures", "crashes", "releases")),
        *(f"{name} = 'soon'" for name in ("created_at", "started_at", "finished_at")),
        *(f"{name} = 9e17" for name in ("created_at", "started_at", "scheduled_at")),
        "run_at = x'00'",
        "priority = 'high'",
        "rank = 'first'",
        "timeout = 'long'",
    ],
)
def test_f94_what_has_to_be_a_number_cannot_be_made_something_else(
    shop: Shop, path: Path, change: str
) -> None:
    """The table refuses it, so that the store need not expect it wherever it counts."""
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        leave_edited(shop, path, change)
    assert_others_run(shop)


def test_f94_a_state_that_nobody_knows_is_shown_and_left_alone(shop: Shop, path: Path) -> None:
    """The job is kept as parked: it may be that of other code. Pages and counts go on."""
    job = leave_edited(shop, path, "state = 'frozen'")
    assert_others_run(shop)
    assert job.refresh().state is JobState.PARKED
    assert len(shop.store.find(EVERYTHING).records) == 4
    assert shop.store.stats()[0].counts[JobState.PARKED] == 1
    assert job.cancel().state is JobState.CANCELLED
