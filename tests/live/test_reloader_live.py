"""Under the reloader of the development server two processes have the app, and one serves it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .conftest import Run
from .events import wait_until
from .servers import DEVELOPMENT, Server
from .test_stop_live import assert_drained, assert_goes_on, begin_work, let_go

pytestmark = pytest.mark.live

both_ways = pytest.mark.parametrize("name", DEVELOPMENT)


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A file that the reloader looks at."""
    path = tmp_path / "watched.txt"
    path.touch()
    return path


def start(run: Run, name: str, watched: Path, timeout: float = 2.0) -> Server:
    return run(name, shutdown_timeout=timeout, LIVE_WATCHED=watched, FLASK_RUN_EXTRA_FILES=watched)


@both_ways
def test_the_service_starts_in_the_child_only(run: Run, name: str, watched: Path) -> None:
    """The parent has the app as well, and never serves."""
    live = start(run, name, watched)
    child = int(live.ask("/pid"))
    live.events.wait_for("service-beat")
    assert child != live.pid
    assert live.events.pids("service-startup") == {child: 1}


@both_ways
def test_ctrl_c_drains_and_a_restart_goes_on(run: Run, name: str, watched: Path) -> None:
    """A terminal interrupts both processes; the parent waits for its child."""
    live = start(run, name, watched)
    work = begin_work(live)
    live.signal(signal.SIGINT, group=True)
    let_go(live, work)
    live.wait()
    assert_drained(live, work)
    # Only a child that was not cut off can have given back what it could not finish.
    assert_goes_on(start(run, name, watched), work)


@both_ways
def test_a_second_ctrl_c_leaves_at_once(run: Run, name: str, watched: Path) -> None:
    """Parent and child both stop waiting."""
    live = start(run, name, watched, timeout=3600)
    work = begin_work(live)
    live.signal(signal.SIGINT, group=True)
    live.events.wait_for("task-ended", key=work.tracking)
    live.signal(signal.SIGINT, group=True)
    live.wait(timeout=15)
    assert live.events.find("task-ended", key=work.long) == []


@both_ways
def test_a_change_of_the_code_drains(run: Run, name: str, watched: Path) -> None:
    """The next child starts when the last one has ended in order."""
    live = start(run, name, watched)
    work = begin_work(live)
    old = live.ask("/pid")
    watched.touch()
    let_go(live, work)
    wait_until(lambda: _answer(live) not in ("", old), "the next child answers")
    live.events.wait_for("service-startup", count=2)
    new = _answer(live)
    assert live.events.pids("service-startup") == {int(old): 1, int(new): 1}
    assert live.events.pids("service-shutdown") == {int(old): 1}
    [ended] = live.events.find("task-ended", key=work.short)
    assert ended["met"]


def _answer(live: Server) -> str:
    """Nothing while nobody listens: each child opens the port of the parent anew."""
    try:
        return live.ask("/pid")
    except OSError:
        return ""
