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


def test_a_job_of_such_a_process_waits_for_one_that_serves(run: Run) -> None:
    """It has no time to run jobs, but the store keeps them."""
    live = run("werkzeug-processes")
    key = new_key()
    live.post(f"/jobs/quick/{key}")
    live.stop()
    again = run("gunicorn-2-workers")
    again.events.wait_for("task-ran", key=key)
    again.stop()
    assert len(again.events.find("task-ran", key=key)) == 1


def test_uwsgi_without_threads_says_so(run: Run) -> None:
    """Our threads would stand still there while no request is served."""
    live = run("uwsgi-threadless")
    live.ask("/pid")
    wait_until(lambda: "--enable-threads" in live.log, lambda: live.log)
