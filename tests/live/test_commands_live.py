"""Commands are no servers: nothing starts in them, and what they store waits for who serves."""

from __future__ import annotations

import os
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


def written_to(output: int, folder: Path, *arguments: str, **extra: str) -> tuple[int, str]:
    """The exit code of ``flask later ...``, whose answer goes to *output*, and its stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app=app", "later", *arguments],
        cwd=HERE,
        env={**environment(folder, {}), **extra},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


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


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [(("tasks",), ""), (("tasks", "--json"), "1")],
    ids=["text", "json-unbuffered"],
)
def test_an_answer_that_finds_no_room_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], unbuffered: str
) -> None:
    """``flask later tasks > file`` on a full disk: no traceback, and an exit code that tells."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        code, said = written_to(full, tmp_path, *arguments, PYTHONUNBUFFERED=unbuffered)
    finally:
        os.close(full)
    assert said == "Error: The output cannot be written: No space left on device.\n"
    assert code == 1


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """``flask later tasks | head -1``: not a word about it."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code, said = written_to(writing, tmp_path, "tasks")
    finally:
        os.close(writing)
    assert (code, said) == (1, "")
