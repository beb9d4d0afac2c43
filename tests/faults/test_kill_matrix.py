"""Processes that are killed at every point of a job's life (faults 3 to 11)."""

from __future__ import annotations

import signal

import pytest
from tests.live.events import wait_until

from .old_file import make_old
from .scene import NOTICED, Scene
from .tracing import inject

KILLED = -signal.SIGKILL

pytestmark = pytest.mark.live


def test_a03_a_producer_killed_before_its_commit(scene: Scene) -> None:
    """The job is not there, and nobody is held up by the transaction that died."""
    dying = scene.producer(9, FAULT="before_add_commit:kill9:3")
    assert dying.wait() == KILLED
    assert len(scene.events.find("acknowledged")) == 2
    assert scene.states() == {"queued": 2}
    scene.producer(1).finish()
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert (verdict.acknowledged, verdict.recovered) == (3, 0)


def test_a04_a_producer_killed_after_its_commit(scene: Scene) -> None:
    """The job runs once, although nobody was told its id."""
    dying = scene.producer(9, FAULT="after_add_commit:kill9:3")
    assert dying.wait() == KILLED
    assert len(scene.events.find("acknowledged")) == 2
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert (verdict.acknowledged, verdict.recovered) == (2, 1)


@pytest.mark.parametrize(
    ("point", "starts", "crashes"),
    [
        pytest.param("before_claim_commit", 1, 0, id="before the claim is committed"),
        pytest.param("after_claim_commit", 1, 1, id="after the claim"),
        pytest.param("before_task", 1, 1, id="before the task"),
        pytest.param("after_task", 2, 1, id="after the task"),
        pytest.param("before_settle_commit", 2, 1, id="before the outcome is committed"),
        pytest.param("after_settle_commit", 1, 0, id="after the outcome is committed"),
    ],
)
def test_a05_a07_a_worker_killed_on_its_way(
    scene: Scene, point: str, starts: int, crashes: int
) -> None:
    """A job runs again only if its task had ended and nobody knew; it never is neither nor."""
    scene.producer(1).finish()
    dying = scene.worker(FAULT=f"{point}:kill9", threads=1)
    assert dying.wait() == KILLED
    scene.worker()
    scene.wait_until_done(NOTICED)
    scene.judge().assert_held(duplicates=starts - 1)
    assert len(scene.events.find("start")) == starts
    assert scene.rows("SELECT state, crashes, result IS NULL FROM job") == [
        ("succeeded", crashes, False)
    ]


@pytest.mark.parametrize(
    ("point", "recovered"),
    [
        pytest.param("before_direct_commit", 0, id="before the commit"),
        pytest.param("after_direct_commit", 1, id="after it"),
    ],
)
def test_a05_a_process_killed_as_it_stores_what_it_claims(
    scene: Scene, point: str, recovered: int
) -> None:
    """The thread that stood by never began: the job is not there, or runs in another process."""
    dying = scene.start("both", FAULT=f"{point}:kill9:3")
    assert dying.wait() == KILLED
    scene.worker()
    scene.wait_until_done(NOTICED)
    verdict = scene.judge()
    verdict.assert_held(duplicates=0)
    assert verdict.recovered == recovered
    assert scene.rows("SELECT total(crashes) FROM job") == [(recovered,)]


def test_a06_a_worker_killed_in_its_task(scene: Scene) -> None:
    """Its job runs again, soon, in a worker that lives already."""
    dying = scene.worker(threads=1)
    scene.producer(1, task="hold").finish()
    [start] = scene.events.wait_for("start")
    scene.worker()
    dying.kill()
    scene.events.wait_for("start", count=2, timeout=NOTICED)
    scene.open_gate(start["key"])
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=1)
    assert scene.rows("SELECT state, attempts, crashes FROM job") == [("succeeded", 2, 1)]


@pytest.mark.parametrize("write", [1, 4, 9, 16, 25])
def test_a08_a_worker_killed_while_it_writes(scene: Scene, write: int) -> None:
    """In the middle of a commit: either it counts or it does not."""
    scene.producer(5).finish()
    wal = scene.path.with_name(f"{scene.path.name}-wal")
    under = inject("pwrite64", f"signal=KILL:when={write}", wal)
    dying = scene.worker(under=under, threads=1)
    assert dying.wait() == KILLED
    scene.worker()
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=1)


@pytest.mark.parametrize("write", [1, 2, 30])
def test_a09_a_worker_killed_in_a_checkpoint(scene: Scene, write: int) -> None:
    """The file itself is written in checkpoints only, and the next process completes it."""
    ballast = "x" * 50_000
    dying = scene.producer(120, 0, ballast, FAULT="after_add_commit:kill9:120")
    assert dying.wait() == KILLED
    under = inject("pwrite64", f"signal=KILL:when={write}", scene.path)
    assert scene.worker(under=under, threads=1).wait() == KILLED
    scene.worker()
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=1)


def test_a10_a_process_killed_while_it_prunes(scene: Scene) -> None:
    """Of a batch all is gone or nothing, and never a job that is not finished."""
    scene.producer(20).finish()
    scene.worker().events.wait_for("end", count=20)
    scene.wait_until_done()
    scene.producer(1, task="hold").finish()
    dying = scene.worker(keep_succeeded=0, FAULT="in_prune:kill9:7")
    assert dying.wait() == KILLED
    assert scene.rows("SELECT count(*) FROM audit WHERE now IS NULL") == [(0,)]
    scene.worker(keep_succeeded=0)
    wait_until(
        lambda: not scene.states().get("succeeded"), lambda: f"all are pruned: {scene.states()}"
    )
    assert scene.rows("SELECT DISTINCT was FROM audit WHERE now IS NULL") == [("succeeded",)]
    assert sum(scene.states().values()) == 1


FAULTS_OF_TABLES = [
    "in_tables:kill9:1",
    "in_tables:kill9:7",
    "before_tables_commit:kill9",
    "after_tables_commit:kill9",
]


@pytest.mark.parametrize("fault", FAULTS_OF_TABLES)
def test_a11_a_process_killed_while_it_makes_the_tables(bare_scene: Scene, fault: str) -> None:
    """There are none or all of them, and whoever comes next goes on from there."""
    scene = bare_scene
    assert scene.start("prepare", FAULT=fault).wait() == KILLED
    tables = scene.rows("SELECT name FROM sqlite_master WHERE name = 'job'")
    assert len(tables) == ("after" in fault)
    scene.prepare()
    scene.producer(3).finish()
    scene.worker()
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=0)


@pytest.mark.parametrize("fault", FAULTS_OF_TABLES)
def test_a11_a_process_killed_while_it_changes_the_tables(bare_scene: Scene, fault: str) -> None:
    """They are the old or the new ones, with all jobs."""
    scene = bare_scene
    make_old(scene.path)
    old = columns(scene)
    assert scene.start("prepare", FAULT=fault).wait() == KILLED
    assert (columns(scene) == old) is ("after" not in fault)
    scene.prepare()
    assert columns(scene) > old
    assert scene.states() == {"queued": 1}
    assert scene.rows("PRAGMA integrity_check") == [("ok",)]


def columns(scene: Scene) -> set[str]:
    return {name for (name,) in scene.rows("SELECT name FROM pragma_table_info('job')")}


@pytest.mark.parametrize("how", ["kill", "segfault", "abort", "exit"])
def test_a12_a13_a14_a_task_that_kills_its_process(scene: Scene, how: str) -> None:
    """It is run three times and then failed; to leave with code 0 is no success."""
    scene.producer(1, how, task="die").finish()
    scene.producer(3).finish()
    died = [scene.start("worker", threads=1).wait() for _ in range(3)]
    assert (0 in died) is (how == "exit")
    last = scene.worker(threads=1)
    scene.wait_until_done()
    (poison,) = {event["key"] for event in scene.events.find("start")} - {
        event["key"] for event in scene.events.find("end")
    }
    assert len(scene.events.find("start", key=poison)) == 3
    assert scene.rows("SELECT state, crashes FROM job WHERE task = 'die'") == [("failed", 3)]
    assert scene.rows("SELECT DISTINCT state, crashes FROM job WHERE task <> 'die'") == [
        ("succeeded", 0)
    ]
    assert last.runs
