"""What becomes of work when its process stops."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import pytest

from .conftest import Run
from .events import new_key, wait_until
from .servers import DEVELOPMENT, Config, Server, each_server

pytestmark = pytest.mark.live

#: Seconds in which a stopping process waits for what runs.
TIMEOUT = 2.0


def stays(config: Config) -> bool:
    """Whether nothing but a signal ends its processes; those others have tests of their own."""
    return config.name not in DEVELOPMENT and config.recycles_after is None


@dataclass
class Work:
    """What runs while the server is stopped: the key of each, and the job behind it."""

    short: str
    long: str
    tracking: str
    asking: str
    callback: str
    jobs: dict[str, str]


def begin_work(live: Server) -> Work:
    """Start one of each kind and return once all of them run."""
    keys = {"short": "patient", "long": "patient", "tracking": "tracking", "asking": "asking"}
    named = {name: new_key() for name in keys}
    jobs = {name: live.post(f"/jobs/{keys[name]}/{key}") for name, key in named.items()}
    for key in named.values():
        live.events.wait_for("task-began", key=key)
    callback = new_key()
    with live.client() as client:
        client.get(f"/kinds/length/{callback}")
    live.events.wait_for("callback-began", key=callback)
    return Work(**named, callback=callback, jobs=jobs)


def let_go(live: Server, work: Work) -> None:
    """What can end in time does."""
    live.open_gate(work.short)
    live.open_gate(work.callback)


def assert_drained(live: Server, work: Work) -> None:
    """After the end of the processes: what could end did, what was told to end did."""
    events = live.events
    assert [event["met"] for event in events.find("task-ended", key=work.short)] == [True]
    assert [event["met"] for event in events.find("callback-ended", key=work.callback)] == [True]
    for key in (work.tracking, work.asking):
        assert [event["reason"] for event in events.find("task-ended", key=key)] == ["shutdown"]
    assert events.find("task-ended", key=work.long) == []
    assert events.pids("service-shutdown") == events.pids("service-startup")
    assert set(events.pids("service-startup").values()) == {1}
    assert "Traceback" not in live.log


def assert_goes_on(live: Server, work: Work) -> None:
    """After a restart: what was given back runs again, what was done does not."""
    live.open_gate(work.long)
    live.open_gate(work.tracking)
    live.ask("/pid")
    [ended] = live.events.wait_for("task-ended", key=work.long)
    assert ended["met"]
    live.events.wait_for("task-ended", key=work.tracking, count=2)
    for name in ("short", "long", "tracking", "asking"):
        job, done = work.jobs[name], {"state": "succeeded", "attempts": 1}
        wait_until(
            lambda job=job, done=done: live.state_of(job) == done,
            lambda name=name, job=job: f"{name}: {live.state_of(job)}",
        )
    began = {
        name: len(live.events.find("task-began", key=getattr(work, name))) for name in work.jobs
    }
    assert began == {"short": 1, "long": 2, "tracking": 2, "asking": 1}


@pytest.mark.parametrize("name", each_server(stays, smoke=True))
def test_sigterm_drains_and_a_restart_goes_on(run: Run, name: str) -> None:
    """Running work is told, waited for and else given back; nothing is lost, nothing runs twice."""
    live = run(name, shutdown_timeout=TIMEOUT)
    work = begin_work(live)
    live.signal(signal.SIGTERM)
    let_go(live, work)
    live.wait()
    assert_drained(live, work)
    assert_goes_on(run(name, shutdown_timeout=TIMEOUT), work)


@pytest.mark.parametrize("name", each_server(stays))
def test_sigint_drains_and_a_restart_goes_on(run: Run, name: str) -> None:
    """Ctrl-C is no reason to lose anything."""
    live = run(name, shutdown_timeout=TIMEOUT)
    work = begin_work(live)
    live.signal(signal.SIGINT)
    let_go(live, work)
    live.wait()
    assert_drained(live, work)
    assert_goes_on(run(name, shutdown_timeout=TIMEOUT), work)


@pytest.mark.parametrize("name", ["werkzeug", "waitress", "cheroot"])
def test_a_terminal_that_closes_loses_nothing(run: Run, name: str) -> None:
    """Its programs get SIGHUP, which kills without any exit hook where nobody has set it."""
    live = run(name, shutdown_timeout=TIMEOUT)
    work = begin_work(live)
    live.signal(signal.SIGHUP)
    let_go(live, work)
    live.wait()
    assert_drained(live, work)


@pytest.mark.parametrize("name", each_server(stays))
def test_what_waits_at_the_stop_is_not_lost(run: Run, name: str) -> None:
    """Callbacks that wait still run; jobs run before the end, or stay in the store; once each."""
    live = run(name, shutdown_timeout=TIMEOUT)
    keys = [new_key() for _ in range(8)]
    for key in keys:
        live.post(f"/both/{key}")
    live.stop()
    callbacks = {key: len(live.events.find("callback-ran", key=key)) for key in keys}
    assert callbacks == dict.fromkeys(keys, 1)
    again = run(name)
    again.ask("/pid")
    for key in keys:
        again.events.wait_for("task-ran", key=key)
    again.stop()
    jobs = {key: len(live.events.find("task-ran", key=key)) for key in keys}
    assert jobs == dict.fromkeys(keys, 1)


@pytest.mark.parametrize("name", ["werkzeug", "waitress", "cheroot"])
def test_a_second_interrupt_leaves_at_once(run: Run, name: str) -> None:
    """Who presses Ctrl-C again does not want to wait for the timeout, which is far off here."""
    live = run(name, shutdown_timeout=3600)
    work = begin_work(live)
    live.signal(signal.SIGINT)
    live.events.wait_for("task-ended", key=work.tracking)
    live.signal(signal.SIGINT)
    live.wait(timeout=15)
    assert live.events.find("task-ended", key=work.long) == []
    assert "it is given back" in live.log
    assert "LATER_SHUTDOWN_TIMEOUT" not in live.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["werkzeug", "waitress", "cheroot"])
def test_a_signal_is_as_ever_where_nothing_has_begun(
    run: Run, name: str, number: signal.Signals
) -> None:
    """We change how a process ends only if it has something to lose."""
    live = run(name)
    assert live.stop(number) == -number


def test_sighup_of_gunicorn_drains_the_old_worker(run: Run) -> None:
    """A reload replaces the process, and loses nothing either."""
    live = run("gunicorn-gthread", shutdown_timeout=TIMEOUT)
    old = live.ask("/pid")
    work = begin_work(live)
    live.signal(signal.SIGHUP)
    let_go(live, work)
    [stopped] = live.events.wait_for("service-shutdown")
    assert str(stopped.pid) == old
    wait_until(lambda: live.ask("/pid") != old, "the new worker answers")
    live.events.wait_for("task-began", key=work.long, count=2)
    live.open_gate(work.long)
    live.open_gate(work.tracking)
    assert_goes_on(live, work)


def test_a_recycled_worker_drains(run: Run) -> None:
    """A process that ends by itself, after its requests, loses nothing either."""
    live = run("gunicorn-recycle", shutdown_timeout=TIMEOUT)
    work = begin_work(live)
    [began] = live.events.find("task-began", key=work.short)
    let_go(live, work)
    [stopped] = live.events.wait_for("service-shutdown")
    assert stopped.pid == began.pid
    assert live.ask("/pid") != str(began.pid)
    assert_goes_on(live, work)


def test_each_recycled_worker_stops_in_order(run: Run) -> None:
    """Every process began once, and ended once."""
    live = run("gunicorn-recycle", shutdown_timeout=TIMEOUT)
    keys = [new_key() for _ in range(12)]
    for key in keys:
        live.post(f"/both/{key}")
    live.stop()
    served = live.events.pids("exchange")
    assert len(served) > len(keys) // 5
    began = live.events.pids("service-startup")
    assert served.keys() <= began.keys()
    assert began == dict.fromkeys(began, 1)
    assert live.events.pids("service-shutdown") == began
