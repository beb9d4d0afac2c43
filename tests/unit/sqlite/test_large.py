"""Large arguments and results of a SQLite store: in files, which come and go with their job."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.shop import Shop

from flask_later import JobState
from flask_later.core.clock import VirtualClock
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.core.job import Discard, JobRecord
from flask_later.core.store import Added, Limits, Store
from flask_later.errors import MalformedPayloadError, QueueFullError, StoreError
from flask_later.stores.large import LARGE
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import START, make_record

TEXT = '"' + "x" * LARGE + '"'


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def store(path: Path, clock: VirtualClock) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, clock, Limits(max_pending=2))
    store.open()
    yield store
    store.close()


def large(**changes: object) -> JobRecord:
    return make_record(payload=TEXT, **changes)


def files_of(store: Store, path: Path) -> list[str]:
    """Return the files that the store keeps, as job/kind."""
    folder = path.with_name("later-files") / store.identity
    return sorted(f"{each.parent.name}/{each.name}" for each in folder.rglob("*") if each.is_file())


def finish(store: Store, result: str = TEXT) -> JobRecord:
    """Run the next job; return it as it is then."""
    (running,) = store.exchange("w", (), Want(1)).claimed
    store.exchange("w", [Succeeded(Claim(running.id, running.fence), result)], NOTHING)
    return store.get([running.id])[running.id]


def test_large_texts_lie_in_files(store: SQLiteStore, path: Path) -> None:
    """Whoever reads the job does not see that."""
    record = large()
    assert list(store.add([record])) == [Added(record, True)]
    assert store.get([record.id]) == {record.id: record}
    (running,) = store.exchange("w", (), Want(1)).claimed
    assert running.payload == TEXT
    store.exchange("w", [Succeeded(Claim(running.id, 1), TEXT)], NOTHING)
    (finished,) = store.find().records
    assert (finished.payload, finished.result) == (TEXT, TEXT)
    assert files_of(store, path) == [f"{record.id}/payload", f"{record.id}/result-1"]
    with closing(sqlite3.connect(path)) as raw:
        ((payload, result),) = raw.execute("SELECT payload, result FROM job").fetchall()
    assert (payload, result) == (f"@payload {len(TEXT)}", f"@result-1 {len(TEXT)}")


def test_small_texts_lie_in_the_row(store: SQLiteStore, path: Path) -> None:
    """There is not even a folder."""
    store.add([make_record(payload="x" * LARGE)])
    finish(store, "x" * LARGE)
    assert not path.with_name("later-files").exists()


def test_another_folder_may_be_chosen(path: Path, clock: VirtualClock, tmp_path: Path) -> None:
    """Two stores may share it."""
    stores = [SQLiteStore(each, clock, files=tmp_path / "f") for each in (path, tmp_path / "o")]
    for store in stores:
        store.open()
        store.add([large()])
        store.sweep(100, {})
    assert len([*(tmp_path / "f").glob("*/*/payload")]) == 2
    for store in stores:
        assert finish(store).payload == TEXT
        store.close()


def test_the_files_go_with_a_pruned_job(
    store: SQLiteStore, path: Path, clock: VirtualClock
) -> None:
    """By a sweep, or on request."""
    for _ in range(2):
        store.add([large()])
        finish(store)
    assert len(files_of(store, path)) == 4
    assert store.prune([JobState.SUCCEEDED], clock.now(), 1) == 1
    assert len(files_of(store, path)) == 2
    clock.advance(timedelta(days=8).total_seconds())
    store.sweep(100, {})
    assert files_of(store, path) == []


def test_the_files_go_with_a_discarded_job(store: SQLiteStore, path: Path) -> None:
    """The answer is still the whole job."""
    store.add([large()])
    finished = finish(store)
    assert store.command(finished.id, Discard()) == finished
    assert files_of(store, path) == []


def test_what_is_not_stored_leaves_no_file(store: SQLiteStore, path: Path) -> None:
    """A duplicate, or one job too many; the first job keeps its file."""
    first = large(unique_key="k")
    store.add([first])
    assert list(store.add([large(unique_key="k")])) == [Added(first, False)]
    with pytest.raises(QueueFullError):
        store.add([large(), large()])
    assert list(store.add([first])) == [Added(first, False)]
    assert [store.tick("t", START, large()) for _ in range(2)] == [True, False]
    kept = {name.partition("/")[0] for name in files_of(store, path)}
    assert kept == {record.id for record in store.find().records}


def test_a_full_disk_stores_nothing(store: SQLiteStore, path: Path) -> None:
    """The error names the folder; with room again the store goes on."""
    path.with_name("later-files").write_text("in the way")
    with pytest.raises(StoreError, match=r"later-files.*LATER_FILES"):
        store.add([large()])
    assert store.find().records == []
    path.with_name("later-files").unlink()
    assert store.add([large()])[0].created


def test_an_outcome_waits_for_its_file(store: SQLiteStore, path: Path) -> None:
    """The worker tries again; nothing of the exchange has happened."""
    store.add([make_record()])
    (running,) = store.exchange("w", (), Want(1)).claimed
    path.with_name("later-files").write_text("in the way")
    outcome = Succeeded(Claim(running.id, 1), TEXT)
    with pytest.raises(StoreError):
        store.exchange("w", [outcome], NOTHING)
    path.with_name("later-files").unlink()
    assert list(store.exchange("w", [outcome], NOTHING).done) == [outcome.claim]
    assert store.get([running.id])[running.id].result == TEXT


def test_a_late_result_does_not_touch_the_one_that_counts(store: SQLiteStore) -> None:
    """The attempt was taken away, and the next one has ended."""
    store.add([make_record()])
    (running,) = store.exchange("w", (), Want(1)).claimed
    store.retire("w")
    finished = finish(store)
    late = Succeeded(Claim(running.id, running.fence), '"' + "y" * LARGE + '"')
    assert list(store.exchange("w", [late], NOTHING).stale) == [late.claim]
    assert store.get([running.id])[running.id] == finished


def test_the_files_follow_a_store_that_was_taken_away(store: SQLiteStore, path: Path) -> None:
    """The job is stored again in the file that takes its place, and so are its arguments."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    before = store.identity
    record = large()
    assert list(store.add([record])) == [Added(record, True)]
    assert store.identity != before
    assert store.get([record.id])[record.id] == record


def test_files_of_no_job_are_swept_away(path: Path, clock: VirtualClock) -> None:
    """A process died before its commit; what is new may still be committed."""
    store = SQLiteStore(path, clock)
    store.open()
    record = large()
    store.add([record])
    for job_id in ("a" * 32, "b" * 32):
        store._files().put(job_id, "payload", [b"x"])
    then = time.time() - 4000
    for job_id in (record.id, "a" * 32):
        os.utime(path.with_name("later-files") / store.identity / job_id, (then, then))
    store.sweep(100, {})
    assert set(files_of(store, path)) == {f"{record.id}/payload", f"{'b' * 32}/payload"}
    store.close()


# A file that is lost


@pytest.fixture
def shop(path: Path) -> Iterator[Shop]:
    with Shop(MANUAL=True, STORE=f"sqlite:///{path}") as shop:
        yield shop


def length(text: str) -> int:
    return len(text)


def double(text: str) -> str:
    return 2 * text


def test_a_job_whose_arguments_are_lost_fails(shop: Shop, path: Path) -> None:
    """It says which file it was, and the worker goes on; with the file back it runs."""
    task = shop.later.task(length)
    lost, other = (shop.enqueue(task, "x" * LARGE) for _ in range(2))
    (folder,) = path.with_name("later-files").glob(f"*/{lost.id}")
    moved = shutil.move(folder, path.with_name("moved"))
    assert shop.work() == 2
    lost = lost.refresh()
    assert (lost.state, other.refresh().result) == (JobState.FAILED, LARGE)
    assert lost.error is not None
    assert f"{lost.id}/payload cannot be read (No such file" in lost.error.message
    shutil.move(moved, folder)
    lost.retry()
    shop.work()
    assert lost.refresh().result == LARGE


def test_a_result_that_is_lost_is_said(shop: Shop, path: Path) -> None:
    """The job has succeeded all the same."""
    job = shop.enqueue(shop.later.task(double), "x" * LARGE)
    shop.work()
    assert job.refresh().result == 2 * LARGE * "x"
    for file in path.with_name("later-files").rglob("result-*"):
        file.write_text("cut")
    job = job.refresh()
    assert job.state is JobState.SUCCEEDED
    with pytest.raises(MalformedPayloadError, match=r"result-1 has 3 bytes in place of"):
        _ = job.result


@pytest.mark.parametrize("reference", ["@", "@../../secret 5", "@payload", "@payload x"])
def test_a_reference_changed_by_hand_reads_no_other_file(
    store: SQLiteStore, path: Path, reference: str
) -> None:
    """It is an error like any other text that is no JSON."""
    record = large()
    store.add([record])
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE job SET payload = ?", (reference,))
    assert store.get([record.id])[record.id].payload[:1] == "@"


def test_the_setting_names_the_folder(path: Path, tmp_path: Path) -> None:
    """Relative to the instance folder, as the store is."""
    with Shop(MANUAL=True, STORE=f"sqlite:///{path}", FILES=str(tmp_path / "large")) as shop:
        shop.enqueue(shop.later.task(length), "x" * LARGE)
        assert len([*(tmp_path / "large").glob("*/*/payload")]) == 1
