"""Forks with a live connection, a held lock, a job in hand (faults 24 to 28)."""

from __future__ import annotations

import os
import signal

import pytest
from tests.live.events import wait_until

from .scene import NOTICED, Scene

pytestmark = pytest.mark.live


def codes(scene: Scene) -> set[int]:
    return {event["code"] for event in scene.events.find("child-ended")}


def test_b24_a_fork_after_an_enqueue(scene: Scene) -> None:
    """Parent and children store with connections of their own, and each job runs once."""
    scene.run("forker", "enqueue")
    assert codes(scene) == {0}
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert verdict.acknowledged == 7


def test_b24_each_child_is_a_worker_of_its_own(scene: Scene) -> None:
    """As with --preload: the children work, and their parent does not."""
    forker = scene.start("forker", "work")
    wait_until(
        lambda: scene.rows("SELECT count(DISTINCT pid) FROM worker") == [(4,)],
        lambda: f"four workers: {scene.rows('SELECT pid FROM worker')}",
    )
    assert scene.rows("SELECT * FROM worker WHERE pid = ?", forker.pid) == []
    scene.events.wait_for("end", count=20)
    scene.open_gate("over")
    forker.finish()
    assert codes(scene) == {0}
    scene.worker()
    scene.wait_until_done()
    # What a child gave back at its end may have begun.
    scene.judge().assert_held(duplicates=4 * 4)


def test_b27_a_fork_while_another_thread_writes(scene: Scene) -> None:
    """The child finds no lock locked for ever."""
    scene.run("forker", "busy")
    assert codes(scene) == {0}
    assert len(scene.events.find("child-ended")) == 20
    scene.worker()
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=0)


def test_b28_a_process_forked_in_a_task_outlives_the_worker(scene: Scene) -> None:
    """It keeps none of its locks, so the job runs again at once."""
    dying = scene.worker(threads=1)
    scene.producer(1, task="leave_child").finish()
    [forked] = scene.events.wait_for("forked")
    dying.signal(signal.SIGKILL)
    dying.wait()
    other = scene.worker()
    scene.events.wait_for("forked", count=2, timeout=NOTICED)
    os.kill(forked["child"], 0)
    scene.open_gate(forked["key"])
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=1)
    assert other.runs
