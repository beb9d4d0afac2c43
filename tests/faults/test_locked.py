"""Others who hold the file, or write to it in ways of their own (faults 56, 57 and 75)."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests import death

from flask_later.core.store import Limits, Store
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.store_contract import PatientClock, StoreContract

from .oracle import opened
from .report import FIGURES
from .scene import Scene
from .soak import pick

#: Seconds for which a stranger keeps the file locked; an enqueue waits for five.
LOCKED = pick(6.5, 60.0)


@pytest.mark.live
def test_d56_a_file_that_stays_locked(scene: Scene) -> None:
    """Enqueues are refused and store nothing, outcomes wait for their time, nobody dies."""
    worker = scene.worker(threads=1)
    scene.producer(1, task="hold").finish()
    [start] = scene.events.wait_for("start")
    with scene.database() as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + LOCKED
        scene.open_gate(start["key"])
        scene.events.wait_for("end")
        while time.monotonic() < until:
            scene.producer(1).finish()
        refused = scene.events.find("refused")
        assert {event["error"] for event in refused} == {"StoreBusyError"}
        assert scene.states() == {"running": 1}
        stranger.execute("ROLLBACK")
    scene.producer(2).finish()
    scene.wait_until_done()
    verdict = scene.judge()
    FIGURES["locked"] = {"seconds": LOCKED, "refused": len(refused), **verdict.figures}
    verdict.assert_held(duplicates=0)
    assert verdict.started == 3
    assert worker.stop() == 0


@pytest.mark.live
def test_d75_a_file_that_is_copied_under_load(scene: Scene) -> None:
    """Plain copies disturb nobody, and one by SQLite's backup is a store as it was."""
    worker = scene.worker()
    producer = scene.producer(400, 0.002)
    copies = 0
    backup = scene.folder / "backup.sqlite3"
    known: set[str] = set()
    while producer.runs:
        for path in scene.path.parent.glob(f"{scene.path.name}*"):
            shutil.copy(path, scene.folder / f"copy-{path.name}")
        copies += 1
        known = {event["job"] for event in scene.events.find("acknowledged")}
        with scene.database() as db, closing(sqlite3.connect(backup)) as target:
            db.backup(target)
    scene.wait_until_done()
    assert worker.runs
    scene.judge().assert_held(duplicates=0)
    assert copies
    with opened(backup) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert known <= {job for (job,) in db.execute("SELECT id FROM job")}


class Watched(sqlite3.Connection):
    """Refuses to write in a transaction that may have read before it could write."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.began = ""
        self.set_trace_callback(self.look)

    def look(self, statement: str) -> None:
        words = statement.upper().split()
        if words[0] in ("BEGIN", "COMMIT", "ROLLBACK"):
            self.began = " ".join(words)
        elif words[0] in ("INSERT", "UPDATE", "DELETE", "REPLACE"):
            wrong.extend([statement] if self.began != "BEGIN IMMEDIATE" else [])


wrong: list[str] = []


class TestD57EveryWriteBeginsAsOne(StoreContract):
    """All that the contract makes the store do: no transaction becomes a writing one half-way."""

    def end_process(self, store: Store) -> None:
        assert isinstance(store, SQLiteStore)
        death.end_process(store)

    @pytest.fixture
    def store(
        self,
        tmp_path: Path,
        clock: PatientClock,
        limits: Limits,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Store]:
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect
        monkeypatch.setattr(
            sqlite3, "connect", lambda *args, **more: connect(*args, **more, factory=Watched)
        )
        wrong.clear()
        store = SQLiteStore(tmp_path / "later.sqlite3", clock, limits)
        store.open()
        yield store
        store.close()
        assert wrong == []

    @pytest.fixture
    def other(
        self, store: Store, tmp_path: Path, clock: PatientClock, limits: Limits
    ) -> Iterator[Store]:
        other = SQLiteStore(tmp_path / "later.sqlite3", clock, limits)
        other.open()
        yield other
        other.close()
