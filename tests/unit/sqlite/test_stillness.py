"""Telling by the time of a file that nobody has written to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flask_later.stores.sqlite.stillness import Stillness


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    path = tmp_path / "later.sqlite3-wal"
    path.write_bytes(b"frames")
    return path


def age(path: Path, seconds: float) -> None:
    written = path.stat().st_mtime - seconds
    os.utime(path, (written, written))


def test_a_file_that_has_settled_is_still(wal: Path) -> None:
    """Once it was looked at after that."""
    age(wal, 10)
    stillness = Stillness(str(wal))
    assert [stillness.lasts() for _ in range(3)] == [False, True, True]


def test_a_file_that_was_just_written_is_looked_at_each_time(wal: Path) -> None:
    """Its commit may become visible after the look, and change the file no more."""
    stillness = Stillness(str(wal))
    assert [stillness.lasts() for _ in range(3)] == [False, False, False]


def test_a_change_ends_it(wal: Path) -> None:
    """Also one that only overwrites, and another file in its place."""
    age(wal, 10)
    stillness = Stillness(str(wal))
    stillness.lasts()
    wal.write_bytes(b"FRAMES")
    assert not stillness.lasts()
    age(wal, 10)
    assert [stillness.lasts() for _ in range(2)] == [False, True]
    other = wal.with_name("other")
    other.write_bytes(b"frames")
    age(other, 10)
    other.replace(wal)
    assert not stillness.lasts()


def test_a_look_that_failed_does_not_count(wal: Path) -> None:
    """Nor one at a file that is not there."""
    age(wal, 10)
    stillness = Stillness(str(wal))
    stillness.lasts()
    stillness.forget()
    assert [stillness.lasts() for _ in range(2)] == [False, True]
    wal.unlink()
    assert [stillness.lasts() for _ in range(2)] == [False, False]
