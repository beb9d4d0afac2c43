"""When the WAL is brought into the database, by whom, and what is said when it cannot be."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flask_later.stores.sqlite import SQLiteStore, checkpoints
from flask_later.stores.sqlite.allocation import ALLOCATED
from flask_later.stores.sqlite.checkpoints import IN_BAND, Checkpoints
from flask_later.stores.sqlite.locks import CHECKPOINT, lock_file
from flask_later.testing.records import make_record

MB = 1024 * 1024


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def checkpoint(store: SQLiteStore, path: Path, hand: Hand) -> Iterator[Checkpoints]:
    yield Checkpoints(path, hand)
    lock_file(path).release(CHECKPOINT)


def write(store: SQLiteStore, size: int = 100) -> None:
    # No larger ones, which would be kept in files of their own.
    store.add([make_record(payload="x" * min(size, 50_000)) for _ in range(1 + size // 50_000)])


def wal_size(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


@contextmanager
def reader(path: Path) -> Iterator[None]:
    """Another program that goes on reading the state of now."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN")
        raw.execute("SELECT * FROM job").fetchall()
        yield


def test_the_wal_has_its_room_from_the_beginning(store: SQLiteStore, path: Path) -> None:
    """Jobs fit in before it has to ask the disk for more."""
    size = wal_size(path)
    assert size >= ALLOCATED
    for _ in range(20):
        write(store)
    assert wal_size(path) == size


def test_a_checkpoint_lets_the_wal_be_used_again(
    store: SQLiteStore, path: Path, checkpoint: Checkpoints
) -> None:
    """It does not grow, and keeps its room."""
    write(store, 2 * MB)
    size = wal_size(path)
    for _ in range(3):
        assert checkpoint.run()
        write(store, 2 * MB)
    assert wal_size(path) <= size * 1.1


def test_a_large_wal_is_brought_in_after_five_seconds(
    store: SQLiteStore, hand: Hand, checkpoint: Checkpoints
) -> None:
    """And a small one after a minute."""
    write(store, 5 * MB)
    assert not checkpoint.run_if_due()
    hand.seconds += 5
    assert checkpoint.run_if_due()


def test_a_small_wal_is_brought_in_after_a_minute(
    store: SQLiteStore, hand: Hand, checkpoint: Checkpoints
) -> None:
    """What lies in it costs little."""
    write(store)
    hand.seconds += 59
    assert not checkpoint.run_if_due()
    hand.seconds += 1
    assert checkpoint.run_if_due()


def test_an_idle_store_is_left_alone(
    store: SQLiteStore, hand: Hand, checkpoint: Checkpoints
) -> None:
    """Until somebody writes again."""
    write(store)
    hand.seconds += 60
    assert checkpoint.run_if_due()
    hand.seconds += 1000
    assert not checkpoint.run_if_due()
    write(store)
    assert checkpoint.run_if_due()


HOLD = """
import sys
from pathlib import Path
from flask_later.stores.sqlite.locks import CHECKPOINT, lock_file

print(lock_file(Path(sys.argv[1])).try_take(CHECKPOINT), flush=True)
sys.stdin.read()
"""


def test_one_process_makes_the_checkpoints(
    store: SQLiteStore, path: Path, hand: Hand, checkpoint: Checkpoints
) -> None:
    """Another takes it over as soon as that one is gone."""
    write(store)
    hand.seconds += 60
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"True"
        assert not checkpoint.run_if_due()
        other.kill()
        other.wait()
        assert checkpoint.run_if_due()


def test_a_web_process_alone_keeps_the_wal_small(store: SQLiteStore, path: Path) -> None:
    """Nobody sweeps, so whoever writes has to."""
    largest = 0
    for _ in range(30):
        write(store, 2 * MB)
        largest = max(largest, wal_size(path))
    assert IN_BAND < largest < 2 * IN_BAND


def test_a_sweep_makes_the_checkpoint_that_is_due(
    store: SQLiteStore, path: Path, hand: Hand, checkpoint: Checkpoints
) -> None:
    """Who works, or serves, needs nothing else for it."""
    store._writer._checkpoints = checkpoint
    write(store, 5 * MB)
    hand.seconds += 5
    before = path.stat().st_size
    store.sweep(100, {})
    assert path.stat().st_size > before + 3 * MB


def test_a_checkpoint_that_fails_harms_no_commit(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is stored, and its caller hears of no error."""
    monkeypatch.setattr(store._writer._checkpoints, "_path", path.parent / "gone")
    monkeypatch.setattr(checkpoints, "IN_BAND", 0)
    (added,) = store.add([make_record()])
    assert added.created
    assert not store._writer._checkpoints.run()
    assert [each.id for each in store.find().records] == [added.record.id]


def test_a_reader_that_keeps_the_wal_is_waited_for_less_and_less(
    store: SQLiteStore,
    path: Path,
    hand: Hand,
    checkpoint: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each try holds up those who write."""
    monkeypatch.setattr(checkpoints, "_PATIENCE", 0.01)
    with reader(path):
        write(store, 5 * MB)
        tries = 0
        for _ in range(120):
            hand.seconds += 1
            tries += checkpoint.run_if_due()
        assert tries == 5
    hand.seconds += 60
    assert checkpoint.run_if_due()
    assert checkpoint.run()


def test_a_reader_that_keeps_a_huge_wal_is_warned_of(
    store: SQLiteStore,
    path: Path,
    hand: Hand,
    checkpoint: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, after a minute, with what to type."""
    monkeypatch.setattr(checkpoints, "_PATIENCE", 0.01)
    monkeypatch.setattr(checkpoints, "_HUGE", 5 * MB)
    with reader(path):
        write(store, 6 * MB)
        for _ in range(5):
            assert caplog.records == []
            checkpoint.run()
            hand.seconds += 14
        for _ in range(5):
            checkpoint.run()
            hand.seconds += 60
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"fuser {path}" in record.getMessage()
