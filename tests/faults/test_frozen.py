"""Processes that are frozen, and go on as if nothing had happened (faults 19 to 22)."""

from __future__ import annotations

import os
import signal

import pytest

from .scene import NOTICED, Scene, Script

pytestmark = pytest.mark.live


def let_somebody_look(scene: Scene) -> None:
    """Have those who live look for what is left to do: a job waits for its time, and runs."""
    before = len(scene.events.find("end"))
    scene.producer(1, task="effect@0.3").finish()
    scene.events.wait_for("end", count=before + 1)


def holding(scene: Scene) -> tuple[Script, str]:
    """Return a worker that has a job in hand, and the gate the job waits for."""
    worker = scene.worker(threads=1)
    scene.producer(1, task="hold").finish()
    [start] = scene.events.wait_for("start")
    return worker, start["key"]


def test_a19_a_worker_frozen_for_a_while(scene: Scene) -> None:
    """Whoever lives keeps its job: it ends once, without another attempt."""
    frozen, gate = holding(scene)
    frozen.signal(signal.SIGSTOP)
    scene.worker()
    for _ in range(3):
        let_somebody_look(scene)
    frozen.signal(signal.SIGCONT)
    scene.open_gate(gate)
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=0)
    assert scene.rows("SELECT DISTINCT attempts, crashes FROM job") == [(1, 0)]


def test_a20_a_worker_frozen_for_too_long(scene: Scene) -> None:
    """Its job runs elsewhere, and what it says when it wakes up is dropped."""
    frozen, gate = holding(scene)
    frozen.signal(signal.SIGSTOP)
    scene.rows("UPDATE worker SET beat = beat - 1000")
    other = scene.worker()
    scene.events.wait_for("start", count=2, timeout=NOTICED)
    frozen.signal(signal.SIGCONT)
    scene.open_gate(gate)
    scene.events.wait_for("end", count=2)
    scene.wait_until_done()
    assert frozen.stop() == other.stop() == 0
    scene.judge().assert_held(duplicates=1)
    assert scene.rows("SELECT state, attempts, crashes FROM job") == [("succeeded", 2, 1)]
    assert "outcome" in frozen.log


def test_a21_a_process_frozen_while_it_holds_the_write_lock(scene: Scene) -> None:
    """Enqueues are refused, nothing of them stored; workers wait, and all go on afterwards."""
    worker = scene.worker()
    frozen = scene.producer(1, FAULT="before_add_commit:stop")
    scene.events.wait_for("fault")
    refused = scene.producer(1)
    assert refused.finish() == ""
    assert [event["error"] for event in scene.events.find("refused")] == ["StoreBusyError"]
    assert scene.states() == {}
    assert worker.runs
    frozen.signal(signal.SIGCONT)
    frozen.finish()
    scene.producer(3).finish()
    scene.events.wait_for("end", count=4)
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert verdict.acknowledged == verdict.started == 4
    assert worker.stop() == 0


def test_a22_a_dead_worker_whose_pid_lives(scene: Scene) -> None:
    """A pid says nothing: the job of the dead worker runs again."""
    dead, gate = holding(scene)
    dead.kill()
    scene.rows("UPDATE worker SET pid = ?", os.getpid())
    scene.worker()
    scene.events.wait_for("start", count=2, timeout=NOTICED)
    scene.open_gate(gate)
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=1)
