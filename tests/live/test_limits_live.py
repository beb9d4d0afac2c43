"""Servers on which something is different, and says so."""

from __future__ import annotations

import pytest

from .conftest import Run
from .events import new_key, wait_until

pytestmark = pytest.mark.live


def test_a_process_for_each_request_runs_its_callback_before_it_ends(run: Run) -> None:
    """Werkzeug's ``processes=`` ends the process with the request; the client waits for nothing."""
    live = run("werkzeug-processes")
    key = new_key()
    with live.client() as client:
        response = client.get(f"/kinds/length/{key}")
    [began] = live.events.wait_for("callback-began", key=key)
    assert live.ask("/pid") != str(began.pid)
    live.open_gate(key)
    [ended] = live.events.wait_for("callback-ended", key=key)
    assert (response.complete, ended["met"]) == (True, True)


def test_such_a_process_starts_nothing_and_stores_its_job(run: Run) -> None:
    """It ends too soon to run a job or a service; a process that stays does it."""
    live = run("werkzeug-processes")
    key = new_key()
    live.post(f"/jobs/patient/{key}")
    live.stop()
    assert live.events.find("task-began", key=key) == []
    assert live.events.find("service-startup") == []
    again = run("gunicorn-2-workers")
    again.open_gate(key)
    again.events.wait_for("task-ended", key=key)
    again.stop()
    assert len(again.events.find("task-began", key=key)) == 1


def test_uwsgi_without_threads_says_so(run: Run) -> None:
    """Our threads would stand still there while no request is served."""
    live = run("uwsgi-threadless")
    live.ask("/pid")
    wait_until(lambda: "enable-threads" in live.log, lambda: live.log)
