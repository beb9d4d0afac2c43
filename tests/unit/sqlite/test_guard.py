"""Files that are deleted or replaced under the SQLite store: nothing that was answered is lost."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.core.job import JobRecord
from flask_later.errors import StoreError, StoreLostError, StoreMismatchError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.stores.sqlite.connection import CLOSES_QUIETLY
from flask_later.testing.records import make_record

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows keeps files that are in use")

ENDINGS = ("", "-wal", "-shm")


@pytest.fixture
def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as critical; empty it to go on."""

    class Alarms(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.CRITICAL:
                heard.append(record.getMessage())

    heard: list[str] = []
    logger = logging.getLogger("flask_later")
    handler = Alarms()
    logger.addHandler(handler)
    return heard


def add(store: SQLiteStore) -> JobRecord:
    """Store a job; return it."""
    (added,) = store.add([make_record(at=SystemClock().now())])
    return added.record


def seen_by_others(path: Path) -> set[str]:
    """Return the ids of the jobs that a new process finds."""
    program = "import sqlite3, sys; print(*(i for i, in sqlite3.connect(sys.argv[1]).execute("
    program += "'SELECT id FROM job')))"
    return {*subprocess.check_output([sys.executable, "-c", program, path], text=True).split()}


def remove(path: Path, *endings: str) -> None:
    for ending in endings:
        Path(f"{path}{ending}").unlink()


@pytest.mark.parametrize(
    "endings", [ENDINGS, ("",), ("-wal",), ("-shm",), ("-wal", "-shm")], ids=repr
)
def test_what_is_added_after_files_were_deleted_is_stored(
    store: SQLiteStore, path: Path, alarms: list[str], endings: tuple[str, ...]
) -> None:
    """In the files that are there now; it is said that what was only in the old ones is lost."""
    add(store)
    remove(path, *endings)
    added = [add(store), add(store)]
    assert {record.id for record in added} <= seen_by_others(path)
    assert {record.id for record in added} <= {record.id for record in store.find().records}
    assert len(alarms) == 1
    assert f"{path}, or its -wal or -shm, was deleted or replaced" in alarms[0]


def test_a_deleted_wal_costs_nothing_that_is_in_the_database(
    store: SQLiteStore, path: Path
) -> None:
    """What a checkpoint brought there is still there."""
    before = add(store)
    store._writer.checkpoint()
    remove(path, "-wal", "-shm")
    after = add(store)
    assert seen_by_others(path) == {before.id, after.id}


def test_an_older_backup_in_place_of_the_file_is_used(
    store: SQLiteStore, path: Path, tmp_path: Path, alarms: list[str]
) -> None:
    """With its jobs, those of later are lost, and this is said."""
    old = add(store)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("VACUUM INTO ?", (str(tmp_path / "backup"),))
    lost = add(store)
    (tmp_path / "backup").replace(path)
    new = add(store)
    assert {old.id, new.id} <= seen_by_others(path)
    assert lost.id not in {record.id for record in store.find().records}
    assert len(alarms) == 1
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_database_of_another_program_in_its_place_is_refused(
    store: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    """Nothing is written into it."""
    add(store)
    with closing(sqlite3.connect(tmp_path / "theirs")) as theirs:
        theirs.execute("CREATE TABLE customer (name TEXT)")
    before = (tmp_path / "theirs").read_bytes()
    remove(path, "-wal", "-shm")
    (tmp_path / "theirs").replace(path)
    for _ in range(2):
        with pytest.raises(StoreMismatchError, match="another program"):
            add(store)
    assert path.read_bytes() == before


def test_a_process_that_does_not_write_notices_with_its_next_sweep(
    store: SQLiteStore, path: Path, alarms: list[str]
) -> None:
    """Its readers see the new file, in all threads."""
    add(store)
    asked, swept = threading.Event(), threading.Event()
    found: list[int] = []

    def read() -> None:
        for event in (asked, None):
            found.append(len(store.find().records))
            if event:
                event.set()
                swept.wait(10)

    thread = threading.Thread(target=read)
    thread.start()
    asked.wait(10)
    remove(path, *ENDINGS)
    store.sweep(100, {})
    swept.set()
    thread.join()
    assert found == [1, 0]
    assert store.find().records == []
    assert len(alarms) == 1


def test_an_attempt_that_lost_its_file_is_told_so(store: SQLiteStore, path: Path) -> None:
    """Its outcome is stale, and the worker goes on with the new file."""
    add(store)
    (lost,) = store.exchange("w", (), Want(1)).claimed
    remove(path, *ENDINGS)
    outcome = Succeeded(Claim(lost.id, lost.fence), "1")
    assert list(store.exchange("w", [outcome], NOTHING).stale) == [outcome.claim]
    new = add(store)
    assert [job.id for job in store.exchange("w", (), Want(1)).claimed] == [new.id]
    assert store.sweep(100, {}).rescued == 0


def test_files_that_are_lost_again_and_again_are_an_error(store: SQLiteStore, path: Path) -> None:
    """Somebody has to stop that first."""
    with pytest.raises(StoreLostError, match="again when it was opened anew"):
        store._write(lambda _: path.unlink())
    assert add(store).id in seen_by_others(path)


def test_threads_that_read_meanwhile_hold_on_to_nothing_of_what_was_lost(
    store: SQLiteStore, path: Path
) -> None:
    """All connections of a process share its index of the WAL, so one of before spoils the new."""
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with suppress(StoreError):
                store.find(limit=1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            add(store)
            remove(path, "-wal")
            added = add(store)
            assert added.id in {record.id for record in store.find().records}
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert added.id in seen_by_others(path)


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path, alarms: list[str]) -> None:
    """With a file for the job that came next."""
    path = tmp_path / "instance" / "later.sqlite3"
    store = SQLiteStore(path, SystemClock())
    store.open()
    shutil.rmtree(path.parent)
    added = add(store)
    assert added.id in seen_by_others(path)
    assert alarms
    store.close()


def test_a_file_that_was_deleted_between_two_uses_is_made_again(
    store: SQLiteStore, path: Path, alarms: list[str]
) -> None:
    """Also while no connection was open that could have been asked."""
    store.close()
    remove(path, "")
    assert add(store).id in seen_by_others(path)
    assert len(alarms) == 1


ADD = """
import sys, time
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()
while True:
    began = time.monotonic()
    (added,) = store.add([make_record(at=SystemClock().now())])
    print(began, added.record.id, flush=True)
"""


def test_processes_that_write_at_full_speed_lose_nothing_of_what_comes_after(path: Path) -> None:
    """Each finds the new file by itself; what was answered from then on is in it."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", ADD, str(path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as two,
    ):
        processes = (one, two)
        answers: list[str] = []
        for process in processes:
            assert process.stdout is not None
            answers += [process.stdout.readline() for _ in range(20)]
        remove(path, *ENDINGS)
        deleted = time.monotonic()
        for process in processes:
            assert process.stdout is not None
            for line in process.stdout:
                answers.append(line)
                if float(line.split()[0]) > deleted + 0.2:
                    break
        for process in processes:
            process.kill()
            assert process.stdout is not None
            answers += process.stdout.readlines()
    complete = [line.split() for line in answers if line.endswith("\n")]
    later = {job_id for began, job_id in complete if float(began) > deleted}
    assert len(later) > 10
    assert later <= seen_by_others(path)


# The script of an app that copies the file, which drops this process' locks on it, while another
# process closes the last connection that it knows of, and with it the WAL.
OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM job").fetchall()
connection.close()
"""


def test_an_app_that_copies_the_file_loses_nothing(
    store: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    """Every job that was answered is found at the end."""
    ids: set[str] = set()
    for _ in range(5):
        ids.add(add(store).id)
        shutil.copy(path, tmp_path / "copy")
        subprocess.run([sys.executable, "-c", OTHER, path], check=True)
        ids.update(add(store).id for _ in range(5))
    assert ids == seen_by_others(path)
    assert ids == {record.id for record in store.find().records}
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# What is no loss


def test_other_processes_that_come_and_go_are_no_loss(
    store: SQLiteStore, path: Path, alarms: list[str]
) -> None:
    """They checkpoint, empty the WAL, and read."""
    add(store)
    for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
        with closing(sqlite3.connect(path)) as raw:
            raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        add(store)
        store.sweep(100, {})
    assert alarms == []


def test_closing_and_opening_again_is_no_loss(
    store: SQLiteStore, path: Path, alarms: list[str]
) -> None:
    """The last connection takes the WAL with it, where SQLite does so."""
    for _ in range(3):
        record = add(store)
        store.close()
        assert Path(f"{path}-wal").exists() is CLOSES_QUIETLY
        assert record.id in seen_by_others(path)
    store.open()
    add(store)
    store.sweep(100, {})
    assert len(store.find().records) == 4
    assert alarms == []
