"""Threads that fail, cannot start, or start too late (faults 29 to 31)."""

from __future__ import annotations

import pytest
from tests.live.events import wait_until

from .scene import Scene

pytestmark = pytest.mark.live


def test_b29_maintenance_goes_on_after_an_error(scene: Scene) -> None:
    """What it could not do is done a moment later, and the error is told."""
    worker = scene.worker(FAULT="in_prune:raise", keep_succeeded=0)
    scene.producer(3).finish()
    scene.events.wait_for("end", count=3)
    wait_until(lambda: scene.states() == {}, lambda: f"all are pruned: {scene.states()}")
    assert len(scene.events.find("fault")) == 1
    assert "a fault of the test" in worker.log
    assert worker.stop() == 0


def test_b29_a_worker_thread_goes_on_after_an_error(scene: Scene) -> None:
    """The job that met it is not lost, and the only thread runs others meanwhile."""
    worker = scene.worker(FAULT="before_task:raise", threads=1)
    scene.producer(3).finish()
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=0)
    assert len(scene.events.find("fault")) == 1
    assert "a fault of the test" in worker.log
    assert worker.stop() == 0


def test_b30_no_new_thread_can_be_started(scene: Scene) -> None:
    """What is enqueued is stored; whoever begins to serve is told, and can try again."""
    assert scene.run("threadless") == "can't start new thread\n"
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert verdict.acknowledged == 2


def test_b31_an_enqueue_while_the_interpreter_ends(scene: Scene) -> None:
    """It is stored, nothing is said, and the exit code stays."""
    assert scene.run("at_exit") == ""
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert verdict.acknowledged == 2
