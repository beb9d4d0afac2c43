"""A backlog as long as it gets: 100,000 jobs in `make test`, a million in `make soak`."""

from __future__ import annotations

import time

import pytest
from tests.live.events import wait_until

from .report import FIGURES
from .scene import Scene
from .soak import pick

pytestmark = [pytest.mark.live, pytest.mark.timeout(pick(300, 0))]

JOBS = pick(100_000, 1_000_000)
#: How many of them the workers have to have done before we look.
DONE = pick(2_000, JOBS)


def test_g107_a_long_backlog_is_worked_off_in_its_order(bare_scene: Scene) -> None:
    """Whoever was stored first is handed out first, to the last of them, and once."""
    scene = bare_scene
    began = time.monotonic()
    scene.run("stock", JOBS, timeout=pick(200.0, 3600.0), max_pending=2 * JOBS)
    stored = time.monotonic()
    assert scene.states() == {"queued": JOBS}
    workers = [scene.worker(max_finished=2 * JOBS) for _ in range(2)]
    wait_until(
        lambda: scene.states().get("succeeded", 0) >= DONE,
        lambda: f"{DONE} are done: {scene.states()}",
        pick(60.0, 7200.0),
    )
    done = time.monotonic()
    for worker in workers:
        assert worker.stop() == 0
    ((handed, first, last, most),) = scene.rows(
        "SELECT count(*), min(seq), max(seq), max(attempts) FROM job WHERE fence > 0"
    )
    assert (last - first + 1, most) == (handed, 1)
    assert scene.rows("PRAGMA integrity_check") == [("ok",)]
    FIGURES["backlog"] = {
        "jobs": JOBS,
        "stored a second": round(JOBS / (stored - began)),
        "done a second": round(DONE / (done - stored)),
    }
