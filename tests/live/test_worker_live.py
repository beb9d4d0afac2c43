"""``flask later worker``: real processes, real signals."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .events import PATIENCE, EventLog, new_key, wait_until
from .programs import HERE, Program, environment

pytestmark = pytest.mark.live


@dataclass(kw_only=True)
class Worker(Program):
    options: Sequence[str] = ()
    app: str = "app"

    @property
    def name(self) -> str:
        return "worker"

    @property
    def command(self) -> Sequence[str]:
        flask = [sys.executable, "-m", "flask", f"--app={self.app}"]
        return [*flask, "later", "worker", *self.options]


Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start workers of this test alone, all on the same folder."""
    with ExitStack() as stack:

        def start(*options: str, app: str = "app", **settings: Any) -> Worker:
            # A web app beside it would have this, and a worker has to work none the less.
            settings = {"embedded": "false", **settings}
            worker = Worker(folder=tmp_path, options=options, app=app, settings=settings)
            return stack.enter_context(worker)

        yield start


def flask(folder: Path, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of the app."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app=app", *arguments],
        cwd=HERE,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def store_jobs(folder: Path, task: str, *keys: str, queue: str = "default") -> list[str]:
    """Store a job for each key, from another process, and return their ids."""
    done = flask(folder, "store-jobs", task, *keys, f"--queue={queue}")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def store_job(folder: Path, task: str, key: str) -> str:
    [job] = store_jobs(folder, task, key)
    return job


def row(folder: Path, job: str, columns: str = "state, attempts, crashes, releases") -> Any:
    """What the file says about a job, read without any code of ours."""
    with closing(sqlite3.connect(folder / "instance" / "later.sqlite3")) as db:
        return db.execute(f"SELECT {columns} FROM job WHERE id = ?", (job,)).fetchone()


def wait_for_row(folder: Path, job: str, *expected: Any) -> None:
    wait_until(lambda: row(folder, job) == expected, lambda: f"{expected}: {row(folder, job)}")


def is_gone(pid: int) -> bool:
    """Whether the process has ended; a zombie has, and waits for its parent only."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def began(events: EventLog, key: str, count: int = 1) -> int:
    """Wait until a task has begun so often, and return the pid of its last process."""
    return events.wait_for("task-began", key=key, count=count)[-1].pid


# Work


def test_a_worker_runs_what_the_app_stores(start: Start, tmp_path: Path) -> None:
    """In processes other than the one that was started, which serve nobody else: no services."""
    early, late = new_key(), new_key()
    store_jobs(tmp_path, "quick", early)
    worker = start("--processes=2", "--threads=2")
    worker.events.wait_for("task-ran", key=early)
    store_jobs(tmp_path, "quick", late)
    [ran] = worker.events.wait_for("task-ran", key=late)
    assert ran.pid != worker.pid
    assert worker.events.find("service-startup") == []
    assert "2 x 2 threads, queues all, store " in worker.log
    assert str(tmp_path / "instance" / "later.sqlite3") in worker.log


def test_a_line_of_a_job_names_it(start: Start, tmp_path: Path) -> None:
    """In what a worker prints many jobs speak at the same time."""
    key = new_key()
    job = store_job(tmp_path, "talkative", key)
    worker = start()
    wait_until(lambda: f"noted {key} (job {job})" in worker.log, lambda: worker.log)


def test_a_worker_takes_from_its_queues_only(start: Start, tmp_path: Path) -> None:
    """Jobs of other queues wait for another worker."""
    other, mine = new_key(), new_key()
    [waiting] = store_jobs(tmp_path, "quick", other, queue="reports")
    store_jobs(tmp_path, "quick", mine, queue="mail")
    worker = start("--queues=mail,urgent")
    worker.events.wait_for("task-ran", key=mine)
    assert worker.stop() == 0
    assert worker.events.find("task-ran", key=other) == []
    assert row(tmp_path, waiting, "state") == ("queued",)


def test_the_other_commands_see_the_worker(start: Start, tmp_path: Path) -> None:
    """By the name that it was given, with its threads and queues; and the doctor is content."""
    key = new_key()
    store_jobs(tmp_path, "quick", key, queue="mail")
    worker = start("--name=blue", "--queues=mail,default", "--threads=3")
    [ran] = worker.events.wait_for("task-ran", key=key)
    [facts] = json.loads(flask(tmp_path, "later", "workers", "--json").stdout)
    assert (facts["host"], facts["pid"], facts["threads"]) == ("blue", ran.pid, 3)
    assert facts["queues"] == ["mail", "default"]
    done = flask(tmp_path, "later", "doctor", embedded="false")
    assert done.returncode == 0, done.stdout
    assert "workers: 1 alive, with 3 threads" in done.stdout


# What cannot work is said at once


@pytest.mark.parametrize(
    ("settings", "options", "code", "text"),
    [
        ({"store": "memory://"}, (), 1, "Set LATER_STORE = 'sqlite:///later.sqlite3'."),
        ({"manual": "true"}, (), 1, "LATER_MANUAL is on"),
        ({"store": "sqlite:////proc/later.sqlite3"}, (), 1, "/proc/later.sqlite3: "),
        ({}, ("--queues=a b",), 2, "expected 1 to 64 of the characters"),
        ({"queues": "mail,urgent"}, ("--queues=mial",), 2, "which are mail, urgent."),
        ({}, ("--processes=0",), 2, "0 is not in the range"),
        ({}, ("--shutdown-timeout=nan",), 2, "expected seconds, 0 or more"),
        ({}, ("--shutdown-timeout=inf",), 2, "expected seconds, 0 or more"),
    ],
    ids=["memory", "manual", "unwritable", "bad-name", "unknown-queue", "no-process", "nan", "inf"],
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, settings: dict[str, str], options: Sequence[str], code: int, text: str
) -> None:
    """In one line, with what to type, and without a traceback."""
    done = flask(tmp_path, "later", "worker", *options, **settings)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_fault_48_an_app_that_cannot_be_loaded(start: Start, tmp_path: Path) -> None:
    """The worker ends, says why, and has claimed nothing."""
    job = store_job(tmp_path, "quick", new_key())
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    worker = start(app=str(tmp_path / "broken.py"))
    assert worker.wait() != 0
    assert "no_such_module" in worker.log
    assert row(tmp_path, job) == ("queued", 0, 0, 0)


# The end


def test_fault_114_sigterm_while_idle(start: Start, tmp_path: Path) -> None:
    """It ends well, and nobody is registered any more."""
    key = new_key()
    store_jobs(tmp_path, "quick", key)
    worker = start("--processes=2")
    worker.events.wait_for("task-ran", key=key)
    assert worker.stop(timeout=15) == 0
    with closing(sqlite3.connect(tmp_path / "instance" / "later.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM worker").fetchone() == (0,)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("group", [False, True], ids=["supervisor", "group"])
def test_fault_115_a_signal_while_a_job_runs(
    start: Start, tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    """The job ends first; a terminal signals all processes, a service manager only the first."""
    key = new_key()
    job = store_job(tmp_path, "patient", key)
    worker = start()
    began(worker.events, key)
    worker.signal(number, group=group)
    wait_until(lambda: "the worker stops" in worker.log, lambda: worker.log)
    worker.open_gate(key)
    assert worker.wait() == 0
    assert row(tmp_path, job) == ("succeeded", 1, 0, 0)
    assert "Traceback" not in worker.log


def test_a_worker_under_nohup_outlives_its_terminal(start: Start, tmp_path: Path) -> None:
    """Who has SIGHUP ignored when it starts goes on ignoring it, in all processes."""
    key = new_key()
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = start()
    finally:
        signal.signal(signal.SIGHUP, ignored)
    store_job(tmp_path, "quick", key)
    worker.events.wait_for("task-ran", key=key)
    worker.signal(signal.SIGHUP, group=True)
    key = new_key()
    store_job(tmp_path, "quick", key)
    worker.events.wait_for("task-ran", key=key)
    assert worker.stop() == 0
    assert "ended with" not in worker.log


def test_fault_116_a_job_that_does_not_end_is_given_back(start: Start, tmp_path: Path) -> None:
    """At the end of the timeout; the attempt does not count, and another worker runs the job."""
    key = new_key()
    job = store_job(tmp_path, "patient", key)
    worker = start("--shutdown-timeout=0.5")
    began(worker.events, key)
    assert worker.stop() == 0
    assert row(tmp_path, job) == ("queued", 0, 0, 1)
    assert "it is given back" in worker.log
    again = start()
    began(again.events, key, count=2)
    again.open_gate(key)
    wait_for_row(tmp_path, job, "succeeded", 1, 0, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fault_117_118_a_second_signal_leaves_at_once(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """What runs is given back, the exit code names the signal, and nothing is raised."""
    key = new_key()
    job = store_job(tmp_path, "patient", key)
    worker = start("--shutdown-timeout=3600")
    child = began(worker.events, key)
    worker.signal(number, group=True)
    wait_until(lambda: "the worker stops" in worker.log, lambda: worker.log)
    worker.signal(number, group=True)
    assert worker.wait(timeout=20) == 128 + number
    assert is_gone(child)
    assert row(tmp_path, job) == ("queued", 0, 0, 1)
    assert "Traceback" not in worker.log
    assert "LATER_SHUTDOWN_TIMEOUT" not in worker.log


# Deaths


def test_a_process_that_is_killed_is_replaced(start: Start, tmp_path: Path) -> None:
    """And its job runs again, in the next one."""
    key = new_key()
    job = store_job(tmp_path, "patient", key)
    worker = start()
    first = began(worker.events, key)
    subprocess.run(["kill", "-9", str(first)], check=True)
    second = began(worker.events, key, count=2)
    assert second != first
    worker.open_gate(key)
    wait_for_row(tmp_path, job, "succeeded", 2, 1, 0)
    assert f"(pid {first}) ended with SIGKILL" in worker.log
    assert worker.stop() == 0


def test_a_process_that_cannot_use_the_file_any_more_is_started_again(
    start: Start, tmp_path: Path
) -> None:
    """A deploy has brought newer tables: it says so, after growing pauses, until it can."""
    key = new_key()
    job = store_job(tmp_path, "patient", key)
    worker = start()
    first = began(worker.events, key)
    with closing(sqlite3.connect(tmp_path / "instance" / "later.sqlite3")) as db:
        ((version,),) = db.execute("PRAGMA user_version").fetchall()
        db.execute("PRAGMA user_version = 999")
        subprocess.run(["kill", "-9", str(first)], check=True)
        wait_until(lambda: worker.log.count("ended with exit code 1 ") == 2, lambda: worker.log)
        db.execute(f"PRAGMA user_version = {version:d}")
    assert worker.log.count("it was written by a newer Flask-Later") == 2
    assert "Traceback" not in worker.log
    began(worker.events, key, count=2)
    worker.open_gate(key)
    wait_for_row(tmp_path, job, "succeeded", 2, 1, 0)
    assert worker.stop() == 0


def test_fault_12_a_job_that_kills_its_process_is_failed_in_the_end(
    start: Start, tmp_path: Path
) -> None:
    """After three deaths; a neighbour gets through."""
    key, other = new_key(), new_key()
    job = store_job(tmp_path, "deadly", key)
    store_jobs(tmp_path, "quick", other)
    worker = start("--threads=1")
    # Three starts, and pauses between them that grow.
    wait_until(lambda: row(tmp_path, job) == ("failed", 3, 3, 0), lambda: worker.log, 3 * PATIENCE)
    worker.events.wait_for("task-ran", key=other)
    assert len(worker.events.find("task-began", key=key)) == 3


def test_fault_12_a_job_that_kills_its_process_takes_no_neighbour_along(
    start: Start, tmp_path: Path
) -> None:
    """Those that died with it twice get their last chance apart from it."""
    key = new_key()
    neighbour = store_job(tmp_path, "patient", key)
    job = store_job(tmp_path, "deadly", new_key())
    worker = start("--threads=2")
    # The pauses between the starts grow.
    wait_until(lambda: row(tmp_path, job, "crashes >= 2") == (1,), lambda: worker.log, 3 * PATIENCE)
    worker.open_gate(key)
    wait_until(lambda: row(tmp_path, job) == ("failed", 3, 3, 0), lambda: worker.log, 3 * PATIENCE)
    wait_until(lambda: row(tmp_path, neighbour, "state") == ("succeeded",), lambda: worker.log)


def test_fault_15_the_children_of_a_dead_supervisor_leave(start: Start, tmp_path: Path) -> None:
    """They end what they have begun, take nothing more, and go."""
    key, waiting = new_key(), new_key()
    job = store_job(tmp_path, "outlasting", key)
    worker = start("--threads=1")
    child = began(worker.events, key)
    left = store_job(tmp_path, "quick", waiting)
    worker.signal(signal.SIGKILL)
    worker.wait()
    wait_until(lambda: is_gone(child), "the child has left")
    assert row(tmp_path, job, "state, attempts, crashes") == ("succeeded", 1, 0)
    assert row(tmp_path, left, "state") == ("queued",)


# Replacing


def test_a_process_is_replaced_after_so_many_jobs(start: Start, tmp_path: Path) -> None:
    """No job is lost, none runs twice, and what runs meanwhile is waited for."""
    slow, keys = new_key(), [new_key() for _ in range(3)]
    job = store_job(tmp_path, "patient", slow)
    worker = start("--max-jobs=3", "--threads=2")
    first = began(worker.events, slow)
    store_jobs(tmp_path, "quick", *keys)
    for key in keys:
        worker.events.wait_for("task-ran", key=key)
    wait_until(lambda: "(--max-jobs)" in worker.log, lambda: worker.log)
    worker.open_gate(slow)
    wait_for_row(tmp_path, job, "succeeded", 1, 0, 0)
    last = new_key()
    store_jobs(tmp_path, "quick", last)
    [ran] = worker.events.wait_for("task-ran", key=last)
    assert ran.pid != first
    assert worker.stop() == 0
    assert all(len(worker.events.find("task-ran", key=key)) == 1 for key in keys)


def test_fault_100_a_process_that_grows_is_replaced(start: Start, tmp_path: Path) -> None:
    """Its jobs go on in the next one, and none is lost."""
    keys = [new_key() for _ in range(20)]
    jobs = store_jobs(tmp_path, "hungry", *keys)
    worker = start("--max-memory=200", "--threads=1")
    wait_until(lambda: "(--max-memory)" in worker.log, lambda: worker.log)
    for job in jobs:
        wait_for_row(tmp_path, job, "succeeded", 1, 0, 0)
    key = new_key()
    wait_until(lambda: "is replaced" in worker.log, lambda: worker.log)
    store_jobs(tmp_path, "quick", key)
    [ran] = worker.events.wait_for("task-ran", key=key)
    assert ran.pid != worker.events.find("task-ran", key=keys[0])[0].pid


def test_fault_98_a_process_with_a_stuck_thread_is_replaced(start: Start, tmp_path: Path) -> None:
    """The job has failed by its timeout, others run meanwhile and afterwards."""
    key, meanwhile, afterwards = new_key(), new_key(), new_key()
    job = store_job(tmp_path, "stubborn", key)
    worker = start("--threads=1", LIVE_PATIENCE=3600)
    first = began(worker.events, key)
    wait_for_row(tmp_path, job, "failed", 1, 0, 0)
    store_jobs(tmp_path, "quick", meanwhile)
    worker.events.wait_for("task-ran", key=meanwhile)
    wait_until(lambda: "is replaced after exit code 75" in worker.log, lambda: worker.log)
    wait_until(lambda: is_gone(first), "the process of the stuck thread has ended")
    store_jobs(tmp_path, "quick", afterwards)
    [ran] = worker.events.wait_for("task-ran", key=afterwards)
    assert ran.pid != first
