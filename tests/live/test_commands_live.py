"""Commands are no servers: nothing starts in them, and what they store waits for who serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Run
from .events import EventLog, new_key
from .programs import HERE, environment

pytestmark = pytest.mark.live


def command(folder: Path, *arguments: str, typed: str = "") -> str:
    """What ``flask ...`` prints, on the same folder as the servers of the test."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app=app", *arguments],
        cwd=HERE,
        env=environment(folder, {}),
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (("routes",), ""),
        (("--debug", "routes"), ""),
        (("shell",), "from flask import current_app; print('name:', current_app.name)\n"),
        (("store-job", "key"), ""),
        (("later", "--help"), ""),
        (("run", "--help"), ""),
    ],
    ids=["routes", "debug-routes", "shell", "own-command", "later-help", "run-help"],
)
def test_nothing_starts_in_a_command(
    tmp_path: Path, arguments: tuple[str, ...], typed: str
) -> None:
    """Neither services nor workers: the app is only looked at."""
    assert command(tmp_path, *arguments, typed=typed)
    assert EventLog(tmp_path / "events.jsonl").all() == []


def test_a_job_stored_by_a_command_runs_where_the_app_is_served(run: Run, tmp_path: Path) -> None:
    """Whichever of the two comes first."""
    early, late = new_key(), new_key()
    command(tmp_path, "store-job", early)
    live = run("gunicorn-2-workers")
    [ran] = live.events.wait_for("task-ran", key=early)
    job = command(tmp_path, "store-job", late).strip()
    [also_ran] = live.events.wait_for("task-ran", key=late)
    assert also_ran["job"] == job
    assert {ran.pid, also_ran.pid} <= live.events.pids("service-startup").keys()
