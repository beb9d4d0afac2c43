"""``flask later doctor``: what is wrong is said, with what to type."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flask_later.core.exchange import Claim, Parked, Want
from flask_later.core.job import ErrorRecord

from .conftest import Read, Run, Shop


def told(findings: list[dict[str, Any]], level: str) -> str:
    """All that was said on *level*."""
    return "\n".join(
        f"{finding['text']} {finding['advice']}"
        for finding in findings
        if finding["level"] == level
    )


def test_a_healthy_app(shop: Shop, run: Run, read: Read, tmp_path: Path) -> None:
    """Where the store is, what it is, and that nothing is wrong with it."""
    shop.hire()
    findings = read("doctor")
    fine = told(findings, "ok")
    assert str(tmp_path / "later.sqlite3") in fine
    assert shop.store.identity in fine
    for part in ("SQLite 3.", "file: ", "disk: ", "WAL: ", "integrity: ", "workers: 1", "clock: "):
        assert part in fine
    assert told(findings, "error") == ""
    assert "integrity: every page is as it should be" in run("doctor").output


def test_nobody_works(shop: Shop, read: Read) -> None:
    """What to do depends on who was to work."""
    assert "later.start(app)" in told(read("doctor"), "warning")


def test_nobody_works_where_the_web_does_not(shop: Shop, read: Read) -> None:
    """Then a worker is missing."""
    shop.app.config["LATER_EMBEDDED"] = False
    assert "Start one: flask later worker" in told(read("doctor"), "warning")


def test_a_queue_that_nobody_serves(shop: Shop, read: Read) -> None:
    """The same warning as everywhere."""
    shop.enqueue(shop.fail, "x")
    shop.clock.advance(61)
    shop.hire("default")
    assert "such as this one for all queues: flask later worker" in told(read("doctor"), "warning")


def test_parked_jobs(shop: Shop, read: Read) -> None:
    """Their code is missing."""
    job, worker = shop.enqueue(shop.add, 1, 2), shop.hire()
    [record] = shop.store.exchange(worker, [], Want(1)).claimed
    parked = Parked(Claim(job, record.fence), ErrorRecord("UnknownTask", "?"))
    shop.store.exchange(worker, [parked], Want(0))
    assert "flask later jobs --state parked" in told(read("doctor"), "warning")


def test_an_attempt_that_takes_long(shop: Shop, read: Read) -> None:
    """It has no timeout, and its worker lives."""
    job, worker = shop.enqueue(shop.add, 1, 2), shop.hire()
    [record] = shop.store.exchange(worker, [], Want(1)).claimed
    shop.clock.advance(3_601)
    shop.store.note(worker, [Claim(job, record.fence)], [])
    assert f"flask later cancel {job}" in told(read("doctor"), "warning")


def test_a_clock_that_was_put_back(shop: Shop, read: Read) -> None:
    """Rows from the future show it."""
    shop.enqueue(shop.add, 1, 2)
    [record] = shop.store.find().records
    shop.store.add(
        [record._replace(id="b" * 32, created_at=record.created_at + timedelta(hours=1))]
    )
    assert "the clock was put back" in told(read("doctor"), "warning")


@pytest.mark.skipif(os.name != "posix", reason="files have other rights there")
def test_a_file_that_others_can_read(shop: Shop, read: Read, tmp_path: Path) -> None:
    """Arguments are nobody else's business."""
    assert shop.store.durable
    (tmp_path / "later.sqlite3").chmod(0o644)
    assert f"chmod 600 '{tmp_path / 'later.sqlite3'}'" in told(read("doctor"), "warning")


def test_a_damaged_file(shop: Shop, run: Run, read: Read, tmp_path: Path) -> None:
    """An error, with the way to save what can be saved."""
    for number in range(50):
        shop.enqueue(shop.add, number, number)
    shop.store.close()
    path = tmp_path / "later.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(root,)] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job_ready'")
        [(size,)] = db.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    assert "flask later recover" in told(read("doctor", code=1), "error")
    assert "ERROR    the file is damaged" in run("doctor", code=1).output


def test_a_store_that_cannot_be_used(shop: Shop, read: Read, tmp_path: Path) -> None:
    """It is a finding as well, and no traceback."""
    path = tmp_path / "other.sqlite3"
    path.write_text("this is no database at all" * 100)
    shop.app.config["LATER_STORE"] = f"sqlite:///{path}"
    assert "it is not a SQLite file" in told(read("doctor", code=1), "error")


def test_a_database_that_is_not_there(shop: Shop, run: Run) -> None:
    """It is said once, though nothing else can be looked at either."""
    shop.app.config["LATER_STORE"] = "postgresql://shop:correct-horse@127.0.0.1:9/shop"
    refused = run("doctor", code=1).output
    assert refused.count("cannot be reached") == 1
    assert "postgresql://shop:***@127.0.0.1:9/shop" in refused
    assert "correct-horse" not in refused


def test_a_memory_store(shop: Shop, read: Read) -> None:
    """It is fit for one process only."""
    shop.app.config["LATER_STORE"] = "memory://"
    assert "sqlite:///later.sqlite3" in told(read("doctor"), "warning")
