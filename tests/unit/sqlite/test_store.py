"""What only the SQLite store has: a file, connections, and SQLite's own ways."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.sqlite.files import opened, raw

from flask_later.core.clock import SystemClock, VirtualClock
from flask_later.core.exchange import NOTHING, Again, Claim, Parked, Succeeded, Want
from flask_later.core.job import Cancel, Discard, ErrorRecord, JobState, Resume
from flask_later.core.store import Limits, WorkerRecord
from flask_later.errors import QueueFullError, StoreBusyError, StoreError, StoreMismatchError
from flask_later.stores.columns import to_micros
from flask_later.stores.sqlite import (
    SQLiteStore,
    claims,
    jobs,
    notes,
    reads,
    schema,
    sweeps,
    workers,
)
from flask_later.stores.sqlite.connection import _MOST_READING
from flask_later.stores.sqlite.locks import INIT, lock_file
from flask_later.testing.records import START, make_record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "instance" / "later.sqlite3"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def store(path: Path, clock: VirtualClock) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, clock, patience=0.05)
    store.open()
    yield store
    store.close()


def contents(folder: Path) -> dict[str, str]:
    """Return every file of *folder* with a hash of what is in it."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


# The file


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_the_files_are_for_their_owner_only(path: Path) -> None:
    """Payloads are nobody else's business, whatever the umask."""
    before = os.umask(0)
    try:
        store = opened(path)
        store.add([make_record()])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert {f"{path.name}{suffix}" for suffix in ("", "-wal", "-shm")} <= set(modes)
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("name", ["a b", "100%", "a?b=c#d", "é", "'"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The name is not read as an address."""
    store = opened(tmp_path / name / f"{name}.sqlite3")
    store.add([make_record()])
    store.close()
    assert (tmp_path / name / f"{name}.sqlite3").stat().st_size > 0


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that changes its folder goes on with the same file."""
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore(Path("later.sqlite3"), SystemClock())
    monkeypatch.chdir("/")
    store.open()
    store.close()
    assert (tmp_path / "later.sqlite3").exists()


@pytest.mark.parametrize(
    "content",
    [b"no database", b"x" * 10_000, b"SQLite format 3\0" + b"\xff" * 5_000, b"\0"],
    ids=["text", "long", "broken", "zero"],
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """And left as it was, with nothing beside it but our lock."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"notes\.txt"):
        opened(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_program_is_refused(tmp_path: Path, mode: str) -> None:
    """And not a byte of it is touched, also while that program uses it."""
    path = tmp_path / "shop.sqlite3"
    with raw(path) as theirs:
        theirs.execute(f"PRAGMA journal_mode = {mode}")
        theirs.execute("CREATE TABLE customer (name TEXT)")
        theirs.execute("INSERT INTO customer VALUES ('zoë')")
        before = contents(tmp_path)
        with pytest.raises(StoreMismatchError, match="another program"):
            opened(path)
        after = contents(tmp_path)
        assert theirs.execute("SELECT * FROM customer").fetchall() == [("zoë",)]
    assert {name: after[name] for name in before} == before
    assert set(after) == set(before)


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    """An older process must not write into tables it does not know."""
    opened(path).close()
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreMismatchError, match="newer Flask-Later"):
        opened(path)
    assert path.read_bytes() == before


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    """The error is one of ours, and names it."""
    with pytest.raises(StoreError, match=tmp_path.name):
        opened(tmp_path)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """As one that a process left that was killed while it began."""
    path.parent.mkdir()
    path.touch()
    store = opened(path)
    assert store.add([make_record()])[0].created
    store.close()


def test_a_deleted_file_is_not_replaced_by_an_empty_one(path: Path) -> None:
    """A new connection says that the file is gone."""
    store = opened(path)
    store.close()
    path.unlink()
    with pytest.raises(StoreError, match="unable to open"):
        store.get(["f" * 32])
    assert not path.exists()


def test_the_header_says_what_the_file_is(path: Path) -> None:
    """Also while everything else is still in the WAL: from the first byte on."""
    store = opened(path)
    header = path.read_bytes()[:100]
    store.close()
    assert header[68:72] == b"FLtr"
    assert int.from_bytes(header[60:64], "big") == schema.OLDEST_CODE


# Transactions


def test_a_file_locked_by_another_program_is_busy(store: SQLiteStore, path: Path) -> None:
    """The error says for how long it waited, that nothing was stored, and what to look for."""
    record = make_record()
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError) as caught:
            store.add([record])
        assert dict(store.get([record.id])) == {}, "reading does not wait"
    assert str(caught.value) == (
        "The store was locked by another process for 0.05 s; nothing was stored. "
        "Is another program holding a transaction on it open? See: flask later doctor"
    )
    assert store.add([record])[0].created


def test_a_write_waits_for_who_leaves_the_file(path: Path) -> None:
    """The last one holds all of it while it brings the WAL into it, readers included."""
    store = opened(path)
    store.close()
    last = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    last.execute("PRAGMA locking_mode = EXCLUSIVE")
    last.execute("BEGIN EXCLUSIVE")
    leaving = threading.Timer(0.2, last.close)
    leaving.start()
    (added,) = store.add([make_record()])
    leaving.join(10)
    assert added.created
    store.close()


def test_a_worker_is_told_that_the_file_is_locked(store: SQLiteStore, path: Path) -> None:
    """Its loop asks again; nothing of the exchange has happened."""
    store.add([make_record()])
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            store.exchange("w", (), Want(1))
    assert len(store.exchange("w", (), Want(1)).claimed) == 1


def test_opening_waits_for_who_prepares_the_file(path: Path) -> None:
    """But not for ever."""
    path.parent.mkdir()
    with lock_file(path).holding(INIT, 0), pytest.raises(StoreBusyError):
        SQLiteStore(path, SystemClock(), patience=0.01).open()


def test_an_error_within_a_transaction_undoes_it(path: Path, clock: VirtualClock) -> None:
    """And the next one finds the connection as it should be."""
    store = SQLiteStore(path, clock, Limits(max_pending=1))
    store.open()
    for _ in range(3):
        with pytest.raises(QueueFullError):
            store.add([make_record(), make_record()])
    assert store.add([make_record()])[0].created
    store.close()


def test_a_full_disk_stores_nothing(store: SQLiteStore) -> None:
    """The error is one of ours; with room again the store goes on."""
    connection = store._writer._connect()
    ((pages,),) = connection.all("PRAGMA page_count")
    connection.execute(f"PRAGMA max_page_count = {pages}")
    records = [make_record(payload="x" * 60_000) for _ in range(40)]
    with pytest.raises(StoreError, match="full"):
        store.add(records)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert store.add(records)[0].created


def test_adding_reaches_the_disk_and_settling_need_not(store: SQLiteStore) -> None:
    """What add has answered survives a power cut."""
    store.add([make_record()])
    connection = store._writer._connect()
    assert connection.all("PRAGMA synchronous") == [(2,)]
    store.exchange("w", (), Want(1))
    assert connection.all("PRAGMA synchronous") == [(1,)]
    store.tick("digest", START, make_record())
    assert connection.all("PRAGMA synchronous") == [(2,)]


# What waits is counted


def tally(path: Path) -> tuple[int, int]:
    """Return how many jobs wait, as the file says and as it is."""
    with raw(path) as connection:
        ((told,),) = connection.execute(
            "SELECT ifnull((SELECT max(seq) FROM job), 0) - others FROM tally"
        ).fetchall()
        ((counted,),) = connection.execute(jobs.COUNT_PENDING).fetchall()
    return told, counted


def test_the_tally_follows_every_job(store: SQLiteStore, path: Path, clock: VirtualClock) -> None:
    """Whatever becomes of it."""
    later = START + timedelta(seconds=60)
    records = [
        make_record(),
        make_record(),
        make_record(state=JobState.SCHEDULED, run_at=later),
        make_record(state=JobState.HELD),
        make_record(state=JobState.HELD),
    ]
    store.add(records)
    store.add(records)
    assert tally(path) == (5, 5)
    first, second = store.exchange("w", (), Want(2)).claimed
    assert tally(path) == (3, 3)
    error = ErrorRecord("ValueError", "no")
    again = Again(Claim(first.id, first.fence), later, error)
    parked = Parked(Claim(second.id, second.fence), error)
    store.exchange("w", [again, parked], NOTHING)
    assert tally(path) == (4, 4)
    store.command(second.id, Resume())
    store.command(records[2].id, Cancel())
    store.command(records[3].id, Discard())
    assert tally(path) == (3, 3)
    clock.advance(61)
    store.sweep(100, {})
    assert tally(path) == (3, 3)


def test_a_tally_that_others_spoilt_is_put_right(path: Path, clock: VirtualClock) -> None:
    """Rows that were deleted by hand do not fill the queue for ever."""
    store = SQLiteStore(path, clock, Limits(max_pending=2))
    store.open()
    store.add([make_record(), make_record()])
    with raw(path) as other:
        other.execute("DELETE FROM job")
    store.add([make_record()])
    assert tally(path) == (1, 1)
    store.close()


def test_a_sweep_puts_right_a_tally_that_is_too_low(path: Path, clock: VirtualClock) -> None:
    """Nobody would come upon it: more jobs than may wait would be let in, without a word."""
    store = SQLiteStore(path, clock, Limits(max_pending=2))
    store.open()
    waiting, ended = make_record(at=clock.now()), make_record(at=clock.now())
    store.add([waiting, ended])
    store.command(ended.id, Cancel())
    with raw(path) as other:
        other.execute("DELETE FROM job WHERE id = ?", (ended.id,))
    assert tally(path) == (0, 1)
    store.sweep(100, {})
    assert tally(path) == (1, 1)
    with pytest.raises(QueueFullError):
        store.add([make_record(), make_record()])
    store.close()


def test_settling_for_the_process_waits_for_no_disk(path: Path, clock: VirtualClock) -> None:
    """A power cut may cost the last jobs; the end of a process costs none."""
    store = SQLiteStore(path, clock, power_safe=False)
    store.open()
    store.add([make_record()])
    store.tick("digest", START, make_record())
    assert store._writer._connect().all("PRAGMA synchronous") == [(1,)]
    store.close()


# Threads


def test_threads_share_a_connection(store: SQLiteStore) -> None:
    """A server that makes a thread for each request opens the file no more often."""
    mine = store._connections.get()
    for _ in range(3):
        thread = threading.Thread(target=store.get, args=([],))
        thread.start()
        thread.join()
    assert store._connections._mine == [mine]


def test_who_reads_meanwhile_has_a_connection_of_its_own(store: SQLiteStore) -> None:
    """No reader waits for another, and a signal handler not for what it interrupts."""
    with store._connections.get().read() as first:
        assert not first.is_free()
        with store._connections.get().read() as second:
            assert second is not first
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(store._connections.get).result(10) is second
    assert store._connections.get() is first


def test_readers_beyond_the_most_take_turns(store: SQLiteStore) -> None:
    """However many threads read, the files that are open are few."""
    with ExitStack() as reading:
        for _ in range(_MOST_READING):
            reading.enter_context(store._connections.get().read())
        assert store._connections.get() in store._connections._mine
    assert len(store._connections._mine) == _MOST_READING


def test_closing_closes_the_connections_of_all_threads(store: SQLiteStore) -> None:
    """The files are free then; a thread that asks again gets a new one."""
    asked, closed = threading.Event(), threading.Event()
    seen: list[object] = []

    def ask() -> None:
        seen.append(store._connections.get())
        asked.set()
        closed.wait(10)
        seen.append(store._connections.get())

    thread = threading.Thread(target=ask)
    thread.start()
    asked.wait(10)
    store.close()
    closed.set()
    thread.join()
    first, second = seen
    assert first is not second
    assert first.closed  # type: ignore[attr-defined]


def test_many_threads_write_at_once(path: Path) -> None:
    """They take turns; none is refused, no job is lost or handed out twice."""
    store = opened(path)
    claimed: list[str] = []

    def work(number: int) -> None:
        for _ in range(10):
            store.add([make_record()])
            done = store.exchange(f"w{number}", (), Want(1))
            claimed.extend(record.id for record in done.claimed)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 80
    store.close()


# Statements


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (claims.FRONT, "job_ready"),
        (claims.ENDS, "job_ready"),
        (claims.NEXT_QUEUE, "job_ready"),
        (jobs.SELECT + "WHERE id = ?", "sqlite_autoindex_job_1"),
        (jobs.SELECT + jobs.UNFINISHED_WITH_KEY, "job_key"),
        (jobs.SELECT + jobs.LAST_TO_FREE_KEY, "job_key_free"),
        (jobs.COUNT_OF_PRINCIPAL, "COVERING INDEX job_principal"),
        (jobs.SELECT + jobs.UNTIL_GONE_WITH_KEY, "job_key_kept"),
        (jobs.GLANCE, "sqlite_autoindex_job_1"),
        (jobs._NEXT_DUE, "job_due"),
        (jobs.SELECT + jobs.DUE_BEFORE, "job_due"),
        (jobs.SELECT + jobs.HELD_BY, "job_running"),
        (notes._HELD, "job_running"),
        (jobs.SELECT + workers.abandoned(2), "job_running"),
        (sweeps._WAITS_LONG, "COVERING INDEX job_ready"),
        (sweeps._RUNNABLE, "job_ready"),
        (sweeps._PARKED_TASKS, "job_parked"),
        *((jobs.SELECT + each, "job_parked") for each in sweeps._PARKED_FOR_OTHERS),
        (jobs.SELECT + sweeps.EXPIRED_BY, "job_expiring"),
        *((each, "job_finished") for each in sweeps.PAST.values()),
        *zip(sweeps.UNREST, ["job_ready", "job_running", "job_expiring"], strict=True),
        (sweeps._FINISHED, "job_finished"),
        (reads._ROWS + "WHERE seq < ? ORDER BY seq DESC LIMIT ?", "INTEGER PRIMARY KEY"),
    ],
)
def test_a_statement_uses_its_index(
    store: SQLiteStore, path: Path, statement: str, index: str
) -> None:
    """None reads the backlog, and none sorts it."""
    with raw(path) as connection:
        values = ["1"] * statement.count("?")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    steps = [step for *_, step in plan]
    assert any(index in step for step in steps), steps
    assert not any(step.startswith("SCAN job") and "INDEX" not in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps


def test_counting_what_waits_reads_no_job(store: SQLiteStore, path: Path) -> None:
    """Each state is counted in an index of its own."""
    with raw(path) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {jobs.COUNT_PENDING}").fetchall()
    scans = [step for *_, step in plan if "job" in step]
    assert [step.rsplit(maxsplit=1)[-1] for step in scans] == ["job_ready", "job_due", "job_held"]
    assert all("COVERING INDEX" in step for step in scans)


# Upkeep


def test_a_store_at_rest_is_calm(store: SQLiteStore, clock: VirtualClock) -> None:
    """Then the next sweep may come late; what waits for its time is told besides."""
    store.register(WorkerRecord("w", "localhost", 1, START))
    assert store.sweep(100, {}).calm
    store.add([make_record(delay=10)])
    assert store.sweep(100, {}).calm
    clock.advance(11)
    assert not store.sweep(100, {}).calm, "something was staged"
    assert not store.sweep(100, {}).calm, "it waits for a worker"
    (running,) = store.exchange("w", (), Want(1)).claimed
    assert not store.sweep(100, {}).calm, "its worker may die"
    store.exchange("w", [Succeeded(Claim(running.id, running.fence), "1")], Want(0))
    assert store.sweep(100, {}).calm
    store.add([make_record(delay=100, expires_at=START + timedelta(seconds=50))])
    assert not store.sweep(100, {}).calm, "it will expire"


def test_a_sweep_without_work_writes_nothing(store: SQLiteStore, clock: VirtualClock) -> None:
    """It must not take the file from those who have something to write."""
    store.register(WorkerRecord("w", "localhost", 1, START))
    store.add([make_record(), make_record(delay=100)])
    clock.advance(1)
    with raw(store._path) as other:
        other.execute("BEGIN IMMEDIATE")
        store.sweep(100, {"shop.tasks.send": "digest"})


def test_asking_whether_to_stop_writes_nothing(store: SQLiteStore) -> None:
    """A worker asks every second, and beats now and then."""
    store.register(WorkerRecord("w", "localhost", 1, START))
    store.add([make_record()])
    (running,) = store.exchange("w", (), Want(1)).claimed
    held = [Claim(running.id, running.fence)]
    store.note("w", held, ())
    with raw(store._path) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.note("w", held, ()) == {}


def test_a_step_that_fails_keeps_no_other_from_its_work(
    store: SQLiteStore, clock: VirtualClock, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that cannot be written is said once, and what has fallen due is queued all the same."""
    store.register(WorkerRecord("w", "localhost", 1, START))
    store.add([make_record()])
    store.exchange("w", (), Want(1))
    store.add([make_record(delay=1)])
    with raw(path) as other:
        other.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON job WHEN old.state = 'running' "
            "BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    clock.advance(10_000)
    for _ in range(2):
        store.add([make_record(delay=1)])
        clock.advance(2)
        assert store.sweep(100, {}).hints
    (said,) = [each for each in caplog.messages if "rescue failed" in each]
    assert "The other steps go on" in said


@pytest.mark.parametrize("state", ["succeeded", "queued", "parked", "scheduled"])
def test_a_sweep_does_not_read_the_backlog(store: SQLiteStore, path: Path, state: str) -> None:
    """However many rows there are of a kind that needs nothing, it takes as many steps."""

    def steps_of_a_sweep() -> int:
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        connection = store._connections.get()._raw
        connection.set_progress_handler(count, 100)
        store.sweep(100, {"shop.tasks.send": "digest"})
        connection.set_progress_handler(None, 0)
        return steps

    store.add([make_record()])
    before = steps_of_a_sweep()
    copy = (
        "INSERT INTO job (id, task, queue, payload, state, created_at, run_at, rank, priority, "
        "context, fence, attempts, failures, crashes, releases, unique_until, "
        "finished_at, parked_for) "
        "SELECT 'copy' || value, task, queue, payload, ?, created_at, run_at + 10 * value, "
        "rank + 10 * value, priority, context, 1, 1, 0, 0, 0, unique_until, ?, 'digest' "
        "FROM job JOIN (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n "
        "LIMIT 50000) SELECT value FROM n) WHERE state = 'queued'"
    )
    with raw(path) as other:
        finished_at = to_micros(START) if state == "succeeded" else None
        other.execute(copy, (state, finished_at))
        if state == "scheduled":
            other.execute("UPDATE job SET run_at = run_at + 1000000000 WHERE state = 'scheduled'")
    assert steps_of_a_sweep() <= before + 300
