"""Files that disappear or cannot grow, and a disk that fails (faults 51, 55, 58, 59, 63)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.live.events import wait_until

from .oracle import opened
from .scene import Scene
from .tracing import inject

pytestmark = pytest.mark.live


@pytest.mark.parametrize("sync", [1, 2, 5])
def test_d55_a_disk_that_fails_to_sync(scene: Scene, sync: int) -> None:
    """Nobody knows what became of that commit: it is made again, with the same id."""
    wal = scene.path.with_name(f"{scene.path.name}-wal")
    under = inject("fdatasync", f"error=EIO:when={sync}", wal)
    scene.producer(8, under=under).finish()
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert verdict.acknowledged >= 7


def test_d51_files_that_cannot_grow(scene: Scene) -> None:
    """Jobs are refused and not stored; with room again all goes on, in the same process."""
    scene.run("cramped")
    [refused] = scene.events.find("refused")
    assert refused["error"] in ("StoreFullError", "StoreUncertainError")
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert verdict.recovered == 0
    assert verdict.acknowledged > 2


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(0.0, id="at the start"),
        pytest.param(0.5, id="in the middle"),
    ],
)
def test_d60_a_worker_leaves_a_damaged_file(scene: Scene, beginning: float) -> None:
    """It says so, ends with an exit code of its own, and is not started again and again."""
    scene.producer(200, 0.0, "x" * 2000).finish()
    with scene.database() as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = scene.path.stat().st_size
    with scene.path.open("r+b") as file:
        # Not the first page: then it would be no database at all.
        file.seek(max(4096, int(size * beginning) // 4096 * 4096))
        file.write(b"\xff" * (size - file.tell()))
    worker = scene.supervisor()
    assert worker.wait() == 65
    assert f"{scene.path} is damaged" in worker.log
    assert "the next starts in" not in worker.log
    assert "Traceback" not in worker.log


def delete_all(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        if not each.name.endswith("-lock"):
            each.unlink()


def delete_wal(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def put_back(path: Path) -> None:
    """Replace the database by what it was in the beginning, beside a WAL of today."""
    path.with_name("older").rename(path)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(delete_all, id="deleted (58)"),
        pytest.param(put_back, id="replaced (59)"),
        pytest.param(delete_wal, id="WAL deleted (63)"),
    ],
)
def test_d58_d59_d63_files_that_are_taken_away(
    bare_scene: Scene, damage: Callable[[Path], None]
) -> None:
    """No acknowledgement after that is for a file that nobody sees, and it is said aloud."""
    scene = bare_scene
    scene.run("prepare")
    with opened(scene.path) as db:
        db.execute("VACUUM INTO ?", (str(scene.path.with_name("older")),))
    worker = scene.worker()
    producer = scene.producer(1_000_000, pause=0.005)
    scene.events.wait_for("end", count=20)
    damage(scene.path)
    damaged = time.monotonic()
    wait_until(lambda: len(offered_after(scene, damaged)) >= 100, "enough was enqueued after that")
    producer.kill()
    after = offered_after(scene, damaged)
    wait_until(
        lambda: after <= {event["job"] for event in scene.events.find("end")},
        lambda: f"all that came after it has run: {worker.log}",
    )
    # A job's outcome is stored after the task has written that it ends.
    wait_until(lambda: after <= succeeded(scene), "all that came after it is stored as done")
    assert "was deleted or replaced" in worker.log + producer.log
    assert worker.stop() == 0


def succeeded(scene: Scene) -> set[str]:
    return {job for (job,) in scene.rows("SELECT id FROM job WHERE state = 'succeeded'")}


def offered_after(scene: Scene, instant: float) -> set[str]:
    """The jobs that were acknowledged of those enqueued after the instant."""
    log = scene.events.all()
    keys = {event["key"] for event in log if event.name == "offered" and event.at > instant}
    return {e["job"] for e in log if e.name == "acknowledged" and e["key"] in keys}
