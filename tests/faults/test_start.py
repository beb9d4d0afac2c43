"""Eight processes that open one file at the same moment (faults 65 and 66)."""

from __future__ import annotations

import pytest

from .old_file import make_old
from .oracle import opened
from .scene import Scene
from .soak import pick

pytestmark = pytest.mark.live

PROCESSES = 8
ROUNDS = pick(8, 200)


def start_all(scene: Scene) -> None:
    """Have all processes open and use one file after the other, in step."""
    starters = [scene.start("starter", ROUNDS) for _ in range(PROCESSES)]
    for number in range(ROUNDS):
        scene.events.wait_for("ready", count=PROCESSES, number=number, timeout=60.0)
        scene.open_gate(str(number))
    for starter in starters:
        starter.finish()
    assert len(scene.events.find("opened")) == PROCESSES * ROUNDS
    assert scene.events.find("refused") == []


def jobs_in(scene: Scene, number: int) -> int:
    """Return how many jobs a file has, which has to be whole."""
    with opened(scene.path.with_name(f"{number}.sqlite3")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((jobs,),) = db.execute("SELECT count(*) FROM job")
    return int(jobs)


def test_d66_eight_processes_start_on_a_fresh_file(bare_scene: Scene) -> None:
    """One makes the tables, nobody is refused, and every job is stored."""
    start_all(bare_scene)
    assert {jobs_in(bare_scene, number) for number in range(ROUNDS)} == {PROCESSES}


def test_d65_eight_processes_start_on_an_older_file(bare_scene: Scene) -> None:
    """One brings it up to date, with the job it has; nobody is refused."""
    for number in range(ROUNDS):
        make_old(bare_scene.path.with_name(f"{number}.sqlite3"))
    start_all(bare_scene)
    assert {jobs_in(bare_scene, number) for number in range(ROUNDS)} == {PROCESSES + 1}
