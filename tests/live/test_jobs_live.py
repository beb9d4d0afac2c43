"""Jobs and services in the processes that serve."""

from __future__ import annotations

import pytest

from .conftest import Run
from .events import new_key, wait_until
from .servers import SERVERS, Server, each_server

pytestmark = pytest.mark.live

every_server = pytest.mark.parametrize("live", each_server(), indirect=True, scope="session")
some_servers = pytest.mark.parametrize(
    "live", each_server(smoke=True), indirect=True, scope="session"
)


@some_servers
def test_a_job_runs_in_a_process_that_serves(live: Server) -> None:
    """Nothing but the server was started, and its parent process runs no jobs."""
    key = new_key()
    job = live.post(f"/jobs/quick/{key}")
    [ran] = live.events.wait_for("task-ran", key=key)
    assert ran["job"] == job
    assert (ran.pid == live.pid) is not live.config.has_parent
    done = {"state": "succeeded", "attempts": 1}
    wait_until(lambda: live.state_of(job) == done, lambda: str(live.state_of(job)))


@every_server
def test_a_request_may_leave_a_callback_and_a_job(live: Server) -> None:
    """Each of the two runs, once."""
    keys = [new_key() for _ in range(6)]
    for key in keys:
        live.post(f"/both/{key}")
    for key in keys:
        live.events.wait_for("task-ran", key=key)
        live.events.wait_for("callback-ran", key=key)
        assert len(live.events.find("task-ran", key=key)) == 1
        assert len(live.events.find("callback-ran", key=key)) == 1


@some_servers
def test_the_service_starts_once_in_each_process_that_serves(live: Server) -> None:
    """And in no other: not in a master, not in the parent of a reloader."""
    live.post(f"/both/{new_key()}")
    live.events.wait_for("service-beat")
    started = live.events.pids("service-startup")
    assert set(started.values()) == {1}
    assert (live.pid in started) is not live.config.has_parent


@pytest.mark.parametrize("name", [name for name, each in SERVERS.items() if each.starts_idle])
def test_work_begins_before_the_first_request_where_the_server_is_told_so(
    run: Run, name: str
) -> None:
    """One line of the server's configuration starts every process, idle ones too."""
    live = run(name)
    workers = live.config.processes
    live.events.wait_for("service-startup", count=workers)
    assert len(live.events.pids("service-startup")) == workers


def test_a_stored_job_runs_where_work_begins_idle(run: Run) -> None:
    """What an earlier process stored and never ran needs no request to be run."""
    first = run("waitress", threads=1, shutdown_timeout=0.1)
    blocker, waiting = new_key(), new_key()
    first.post(f"/jobs/patient/{blocker}")
    first.events.wait_for("task-began", key=blocker)
    first.post(f"/jobs/quick/{waiting}")
    first.kill()
    second = run("gunicorn-2-workers")
    [ran] = second.events.wait_for("task-ran", key=waiting)
    assert ran.pid != first.pid


def test_the_memory_store_works_on_a_real_server(run: Run) -> None:
    """One process that serves needs no file."""
    live = run("waitress", store="memory://")
    key = new_key()
    job = live.post(f"/both/{key}")
    live.events.wait_for("task-ran", key=key)
    live.events.wait_for("callback-ran", key=key)
    wait_until(lambda: live.state_of(job)["state"] == "succeeded", "the job has succeeded")
    assert not list(live.folder.rglob("*.sqlite3"))
