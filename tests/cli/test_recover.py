"""``flask later recover``: jobs of a damaged file, saved into another."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Want
from flask_later.stores.sqlite import SQLiteStore
from flask_later.stores.sqlite.schema import PAGE_SIZE
from flask_later.testing.records import make_record

from .conftest import Read, Run, Shop

LARGE = "y" * 100_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "later.sqlite3"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "saved.sqlite3"


@contextmanager
def opened(path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(path, SystemClock())) as store:
        store.open()
        yield store


def fill(path: Path, jobs: int, **more: Any) -> list[str]:
    """Store so many jobs, in the file itself and not in its WAL."""
    records = [make_record(payload=f"{number:<400}", **more) for number in range(jobs)]
    with opened(path) as store:
        store.add(records)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [record.id for record in records]


def pages_of(path: Path, name: str) -> list[int]:
    """Return where a table or an index has its pages."""
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
    pages, found = [root], []
    data = path.read_bytes()
    while pages:
        page = pages.pop(0)
        start = (page - 1) * PAGE_SIZE
        found.append(page)
        if data[start] in (2, 5):  # the inner nodes of indexes and tables
            cells = int.from_bytes(data[start + 3 : start + 5], "big")
            for cell in range(cells):
                at = start + 12 + 2 * cell
                child = start + int.from_bytes(data[at : at + 2], "big")
                pages.append(int.from_bytes(data[child : child + 4], "big"))
            pages.append(int.from_bytes(data[start + 8 : start + 12], "big"))
    return found


def damage(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_SIZE)
        file.write(b"\xff" * PAGE_SIZE)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_whole_file_is_copied(shop: Shop, run: Run, read: Read, path: Path, target: Path) -> None:
    """With its log lines, its paused queues, its large arguments and its identity."""
    done, waits = shop.enqueue(shop.add, 1, 2), shop.enqueue(shop.fail, LARGE)
    with shop.app.app_context():
        shop.later.pause("mail")
    process = shop.app.extensions["later.lifecycle"].serve()
    while process.worker.run().value == "ran":
        pass
    identity = shop.store.identity
    answer = read("recover", str(target))
    assert (answer["jobs"], answer["lost"], answer["incomplete"]) == (2, [], [])
    with opened(target) as saved:
        assert saved.identity == identity
        assert saved.get([done]) == shop.store.get([done])
        assert LARGE in saved.get([waits])[waits].payload
        assert [line.message for line in saved.log(done)] == ["adding"]
        assert [queue.name for queue in saved.stats() if queue.paused] == ["mail"]


def test_what_lies_on_a_damaged_page_is_lost_and_named(
    shop: Shop, run: Run, path: Path, target: Path
) -> None:
    """All others are saved and run; the damaged file is left as it is."""
    shop.store.close()
    ids = fill(path, 2_000)
    leaf = pages_of(path, "job")[20]
    damage(path, leaf)
    before = digest(path)
    told = run("recover", str(target), code=1).output
    assert digest(path) == before
    with opened(target) as saved:
        there = set(saved.get(ids[:1000])) | set(saved.get(ids[1000:]))
        lost = [job for job in ids if job not in there]
        assert 0 < len(lost) < 50
        assert f"saved: {2_000 - len(lost):,} jobs" in told
        assert all(job in told for job in lost)
        assert len(saved.exchange("w", (), Want(100)).claimed) == 100
        assert sum(sum(q.counts.values()) for q in saved.stats()) == 2_000 - len(lost)
    assert f"LATER_STORE = 'sqlite:///{target}'" in told


def test_a_damaged_index_costs_no_job(shop: Shop, run: Run, path: Path, target: Path) -> None:
    """It is made anew."""
    shop.store.close()
    fill(path, 500)
    for name in ("job_ready", "sqlite_autoindex_job_1"):
        for page in pages_of(path, name):
            damage(path, page)
    assert "saved: 500 jobs" in run("recover", str(target)).output


def test_a_damaged_inner_page_costs_what_is_below_it(
    shop: Shop, read: Read, path: Path, target: Path
) -> None:
    """The ids of those jobs are still told, by their index."""
    shop.store.close()
    ids = fill(path, 500)
    damage(path, pages_of(path, "job")[0])
    answer = read("recover", str(target), code=1)
    assert answer["jobs"] == 0
    assert sorted(answer["lost"]) == sorted(ids)


def test_what_the_wal_has_is_saved_too(shop: Shop, run: Run, path: Path, target: Path) -> None:
    """It is read, and not brought into the damaged file."""
    ids = [shop.enqueue(shop.add, number, 1) for number in range(5)]
    before = digest(path)
    run("recover", str(target))
    assert digest(path) == before
    with opened(target) as saved:
        assert set(saved.get(ids)) == set(ids)


def test_a_file_that_is_there_is_not_written_to(
    shop: Shop, run: Run, path: Path, target: Path
) -> None:
    """Nor the damaged one itself."""
    shop.enqueue(shop.add, 1, 2)
    target.write_text("mine")
    for file in (target, path):
        assert "is there already" in run("recover", str(file), code=1).output
    assert target.read_text() == "mine"


def test_a_file_of_which_nothing_can_be_read(
    shop: Shop, run: Run, path: Path, target: Path
) -> None:
    """It is said, and no empty store is left in its place."""
    path.write_bytes(b"\xff" * 10 * PAGE_SIZE)
    assert "nothing of it can be read" in run("recover", str(target), code=1).output
    assert not target.exists()


def test_the_memory_store_has_nothing_to_recover(shop: Shop, run: Run, target: Path) -> None:
    """It is no file."""
    shop.app.config["LATER_STORE"] = "memory://"
    assert "is no file" in run("recover", str(target), code=1).output
