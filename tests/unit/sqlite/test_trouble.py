"""Disks and files that fail the SQLite store: each is an error that says what to do."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.shop import Shop, until

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.errors import StoreCorruptError, StoreReadOnlyError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.stores.sqlite.connection import Connection
from flask_later.testing.records import START, make_record


def test_a_store_that_cannot_be_written_to_says_so(store: SQLiteStore, path: Path) -> None:
    """Nothing is stored, what is there can be read, and it goes on once it can."""
    kept, refused = make_record(), make_record()
    store.add([kept])
    db = store._writer._connect()
    db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreReadOnlyError) as caught:
        store.add([refused])
    assert f"ls -la '{path}'*" in str(caught.value)
    assert set(store.get([kept.id, refused.id])) == {kept.id}
    db.execute("PRAGMA query_only = OFF")
    assert store.add([refused])[0].created


def use(store: SQLiteStore) -> None:
    """Open it and look for work."""
    store.open()
    store.exchange("w", (), Want(1))


def test_a_damaged_file_says_so_and_is_left_as_it_is(path: Path) -> None:
    """The error says how to save what can be read."""
    with closing(SQLiteStore(path, SystemClock())) as store:
        store.open()
        store.add([make_record(payload="x" * 1000) for _ in range(200)])
        store._writer.checkpoint()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 2 * 4096))
    before = path.stat()
    with closing(SQLiteStore(path, SystemClock())) as store:
        with pytest.raises(StoreCorruptError) as caught:
            use(store)
        with pytest.raises(StoreCorruptError):
            store.find()
    assert "malformed" in str(caught.value)
    assert "flask later recover NEWFILE" in str(caught.value)
    after = path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


def fail_once(monkeypatch: pytest.MonkeyPatch, *, after: bool) -> list[str]:
    """Let the disk fail in the next commit: before anything is written, or after everything is."""
    real = Connection.commit
    failed: list[str] = []

    def commit(db: Connection) -> None:
        if failed:
            return real(db)
        failed.append("once")
        if after:
            real(db)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    monkeypatch.setattr(Connection, "commit", commit)
    return failed


@pytest.mark.parametrize("after", [False, True], ids=["lost", "stored"])
def test_a_commit_whose_end_is_unknown_is_repeated(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """On a new connection; each job is stored once, each outcome is done."""
    before = store._writer._connect()
    record = make_record()
    failed = fail_once(monkeypatch, after=after)
    store.add([record])
    assert failed
    assert [each.id for each in store.find().records] == [record.id]
    assert store._writer._connect() is not before
    (running,) = store.exchange("w", (), Want(1)).claimed
    failed.clear()
    outcome = Succeeded(Claim(running.id, running.fence), "1")
    assert list(store.exchange("w", [outcome], NOTHING).done) == [outcome.claim]


@pytest.mark.parametrize("after", [False, True], ids=["lost", "stored"])
@pytest.mark.parametrize("unique_key", [None, "k"])
def test_what_an_unknown_commit_has_stored_is_the_callers_own(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, after: bool, unique_key: str | None
) -> None:
    """It is answered as new, as it would have been at once; what was there before is not."""
    before, new = make_record(), make_record(unique_key=unique_key)
    store.add([before])
    assert fail_once(monkeypatch, after=after) == []
    added = store.add([before, new, new])
    assert [each.created for each in added] == [False, True, False]
    assert len(store.find().records) == 2


@pytest.mark.parametrize("after", [False, True], ids=["lost", "stored"])
def test_a_tick_of_an_unknown_commit_has_fired(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Once, and for the one who asked."""
    fail_once(monkeypatch, after=after)
    assert store.tick("digest", START, make_record()) is True
    assert store.tick("digest", START, make_record()) is False
    assert len(store.find().records) == 1


# The kernel refuses to write beyond the size that a process may give a file.
LIMITED = """
import resource, sys
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.errors import StoreUncertainError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()
refused = make_record()
more = [make_record(payload="x" * 50_000) for _ in range(100)]
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
try:
    store.add([refused, *more])
except StoreUncertainError as error:
    print("uncertain", "SQLITE_IOERR" in str(error))
print(len(store.get([refused.id])))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.add([refused, *more])[0].created)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
def test_a_disk_that_goes_on_failing_is_said(path: Path) -> None:
    """What is stored then is uncertain; the same can be added again, and is stored once."""
    output = subprocess.check_output([sys.executable, "-c", LIMITED, path], text=True)
    assert output.splitlines() == ["uncertain True", "0", "True"]


def damage(path: Path, beginning: float = 0.5) -> None:
    """Overwrite the pages from there on."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(int(size * beginning) // 4096 * 4096)
        file.write(b"\xff" * (size - file.tell()))


def worker_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("later-worker")]


def test_a_damaged_file_is_claimed_from_no_more(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once for the process, whose threads end; what it can still answer it answers."""
    with Shop(STORE=f"sqlite:///{path}", EMBEDDED=False) as shop:
        task = shop.later.task(name="task")(len)
        jobs = [shop.enqueue(task, "x" * 2000) for _ in range(200)]
        store: Any = shop.store
        store._writer.checkpoint()
    damage(path)
    others = {*worker_threads()}
    with Shop(STORE=f"sqlite:///{path}") as shop:
        shop.later.task(name="task")(len)
        worker = shop.process.worker
        until(lambda: worker.damage is not None)
        until(lambda: not {*worker_threads()} - others)
        with shop.app.app_context():
            assert shop.later.job(jobs[0].id).id == jobs[0].id
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert len([text for text in said if "this process runs no more jobs. " in text]) == 1
    assert len([text for text in said if "could not be stored" not in text]) == 1
