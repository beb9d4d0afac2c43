"""What is left after a power cut (fault 17): every beginning of the log is tried."""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect

import pytest

from .scene import Scene
from .tracing import observe
from .wal import HEADER, Wal

pytestmark = pytest.mark.live

JOBS = 40


@dataclass(frozen=True)
class Remains:
    """The files as a killed process left them, and what it had been told."""

    folder: Path
    database: bytes
    wal: Wal
    #: How many frames there were when each enqueue returned, in their order.
    reached: dict[str, int]

    def left(self, log: bytes) -> list[str]:
        """Return the jobs that are there if only *log* reached the disk; the file is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        path = self.folder / "later.sqlite3"
        path.write_bytes(self.database)
        path.with_name("later.sqlite3-wal").write_bytes(log)
        with closing(connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [job for (job,) in db.execute("SELECT id FROM job ORDER BY seq")]

    def check(self, log: bytes, frames: int) -> None:
        """With *frames* whole ones in front, it is the state of one instant, and no older one."""
        jobs = self.left(log)
        stored = [*self.reached]
        assert jobs == stored[: len(jobs)]
        assert {job for job, reached in self.reached.items() if reached <= frames} <= {*jobs}


def cut(scene: Scene) -> Remains:
    """Let a producer work beside a worker, and cut the power."""
    worker = scene.worker(threads=1)
    scene.start("powered", JOBS).wait()
    worker.kill()
    reached = {event["job"]: event["frames"] for event in scene.events.find("reached")}
    assert len(reached) == JOBS
    return Remains(scene.folder / "after", scene.path.read_bytes(), Wal.of(scene.path), reached)


@pytest.mark.parametrize("durability", ["power", "process"])
def test_a17_every_beginning_of_the_log_is_a_state_that_was(scene: Scene, durability: str) -> None:
    """Cut between two frames or within one: what was acknowledged by then is there."""
    scene.settings["durability"] = durability
    remains = cut(scene)
    wal, chance = remains.wal, random.Random(17)
    for frames in range(wal.frames + 1):
        remains.check(wal.data[: wal.end(frames)], frames)
    for _ in range(40):
        size = chance.randrange(HEADER, wal.end(wal.frames))
        remains.check(wal.data[:size], (size - HEADER) // wal.frame)


def test_a17_a_flipped_bit_ends_the_log(scene: Scene) -> None:
    """What stands behind it never counts, so the state is still one that was."""
    remains = cut(scene)
    wal, chance = remains.wal, random.Random(71)
    for _ in range(100):
        place = chance.randrange(HEADER, wal.end(wal.frames))
        damaged = bytearray(wal.data)
        damaged[place] ^= 1 << chance.randrange(8)
        remains.check(bytes(damaged), (place - HEADER) // wal.frame)


def test_a17_the_log_is_synced_before_an_enqueue_returns(scene: Scene) -> None:
    """Between the last write to the log and the acknowledgement stands an fsync."""
    trace = scene.folder / "trace"
    scene.producer(10, under=observe(trace, "pwrite64", "fdatasync", "fsync", "write")).finish()
    acknowledged = 0
    unsynced = False
    for line in trace.read_text().splitlines():
        if "-wal>" in line:
            unsynced = "pwrite64(" in line
        elif "acknowledged" in line:
            acknowledged += 1
            assert not unsynced
    assert acknowledged == 10
