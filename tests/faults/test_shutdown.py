"""Faults 114 to 128: how processes end, and what they leave.

Those of ``flask later worker`` are in ``tests/live/test_worker_live.py``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.live.client import Client, ConnectionEndedError
from tests.live.events import wait_until
from tests.live.programs import HERE as LIVE
from tests.live.servers import Config, gunicorn
from tests.shop import PATIENCE, Shop, until

from flask_later import Job, JobState, Retry
from flask_later.errors import NotServingError

from .scene import Scene, Script

START = f"--config={LIVE / 'gunicorn_start.py'}"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(STORE=f"sqlite:///{tmp_path}/later.sqlite3", THREADS=2) as shop:
        yield shop


def add(a: int, b: int = 1) -> int:
    return a + b


def ours() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("later-")}


def begin_holding(scene: Scene, **settings: object) -> tuple[Script, str]:
    """Start a worker that has one job in hand, which waits for its gate; return it and the key."""
    worker = scene.worker(**settings)
    scene.producer(1, task="hold").finish()
    [began] = scene.events.wait_for("start")
    return worker, began["key"]


def let_another_do_it(scene: Scene, key: str) -> None:
    """Start a worker that does what was left."""
    scene.open_gate(key)
    scene.worker()
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=1)


# Signals to a process of the app


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGTERM, 2), (signal.SIGTERM, 5), (signal.SIGINT, 2)], ids=str
)
def test_h117_h118_signals_that_are_repeated_lose_nothing(
    scene: Scene, number: signal.Signals, times: int
) -> None:
    """They end the wait for a job that does not end; another process runs it."""
    worker, key = begin_holding(scene, shutdown_timeout=3600)
    for _ in range(times):
        with suppress(ProcessLookupError):
            worker.signal(number)
        time.sleep(0.1)  # signals that come together are one
    worker.wait()
    assert "Traceback" not in worker.log
    let_another_do_it(scene, key)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_h117_h118_a_hail_of_signals_is_answered_without_a_traceback(
    scene: Scene, number: signal.Signals
) -> None:
    """Whatever they interrupt on the way out."""
    worker, key = begin_holding(scene, shutdown_timeout=3600)
    worker.signal(number)
    scene.events.wait_for("asked")
    with suppress(ProcessLookupError):
        for _ in range(200):
            worker.signal(number)
            time.sleep(0.002)
    worker.wait()
    assert "Traceback" not in worker.log
    let_another_do_it(scene, key)


def test_h128_a_handler_of_the_app_is_never_replaced(scene: Scene) -> None:
    """Ours stands where nobody has set one, and hands on to the way out that there is."""
    said = json.loads(scene.run("handlers"))
    own = dict.fromkeys(("SIGTERM", "SIGINT", "SIGHUP"), "__main__")
    assert said["of the app"] == {"before": own, "after": own}
    assert said["default"]["before"] == {
        "SIGTERM": "SIG_DFL",
        "SIGINT": "_signal",
        "SIGHUP": "SIG_DFL",
    }
    assert set(said["default"]["after"].values()) == {"flask_later.runtime.termination"}
    assert said["untouched"] == []


def test_h128_the_servers_handlers_are_left_alone(scene: Scene) -> None:
    """All of them, once the app has begun to work in its process."""
    config = Config("gunicorn", gunicorn("--threads=2", START), needs="gunicorn", has_parent=True)
    web = scene.web(config)
    handlers = json.loads(web.ask("/handlers"))
    for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGABRT", "SIGUSR1"):
        assert handlers[name].startswith("gunicorn"), handlers


# The end of the interpreter


@pytest.mark.parametrize(
    ("store", "left"), [("memory://", "are lost with the memory store"), (None, "is given back")]
)
def test_h119_a_script_that_ends_does_not_wait_for_its_backlog(
    scene: Scene, store: str | None, left: str
) -> None:
    """It waits for its timeout, says what it leaves, and ends as it would have without us."""
    settings = {} if store is None else {"store": store}
    script = scene.start("ending", 5, threads=1, shutdown_timeout=0.2, **settings)
    assert script.wait() == 3
    assert left in script.log
    assert "Traceback" not in script.log
    if store is None:
        assert scene.states() == {"queued": 5}


def test_h120_a_worker_that_gunicorn_kills_leaves_its_job_to_the_next(scene: Scene) -> None:
    """A view that never answers costs the process; the job that ran beside it runs again."""
    config = Config("gunicorn", gunicorn("--timeout=2", START), needs="gunicorn", has_parent=True)
    web = scene.web(config)
    scene.producer(1, task="hold").finish()
    [began] = scene.events.wait_for("start")
    with suppress(ConnectionEndedError), Client(web.address) as client:
        client.get("/block")
    first, second = scene.events.wait_for("start", count=2)
    assert first.pid != second.pid
    scene.open_gate(began["key"])
    scene.wait_until_done()
    scene.judge().assert_held(duplicates=1)


def test_h121_gunicorn_replaces_its_workers_under_load(scene: Scene) -> None:
    """After their requests, and for a reload: what was acknowledged runs, once."""
    options = ("--threads=4", "--workers=2", "--max-requests=8", "--max-requests-jitter=4", START)
    config = Config("gunicorn", gunicorn(*options), needs="gunicorn", has_parent=True)
    web = scene.web(config)
    posted = 0
    while posted < 300:
        with suppress(ConnectionError, OSError), Client(web.address) as client:
            client.post("/enqueue/0.0")
        posted += 1
        if posted % 100 == 0:
            web.signal(signal.SIGHUP)
    wait_until(lambda: len(scene.events.pids("start")) > 16, "many processes had their turn")
    scene.wait_until_done()
    web.stop()
    verdict = scene.judge()
    assert verdict.acknowledged >= 150
    verdict.assert_held(duplicates=0)


# In the way of a stop


def test_h122_a_stop_while_the_file_is_locked(scene: Scene) -> None:
    """It waits for the file no longer than any write, and the job's fate is in its lock."""
    worker, key = begin_holding(scene, shutdown_timeout=0.5)
    with scene.database() as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        worker.stop()
        took = time.monotonic() - began
        other.execute("ROLLBACK")
    assert 5 < took < 8
    assert scene.states() == {"running": 1}
    assert "jobs could not be given back" in worker.log
    let_another_do_it(scene, key)


def test_h123_who_sleeps_does_not_hold_up_a_stop(shop: Shop) -> None:
    """Neither a job before its next try nor an idle thread: the timeout is not needed."""

    @shop.later.task(retry=Retry(max_attempts=2, backoff=3600, jitter=False))
    def fail() -> None:
        raise ValueError

    job = shop.enqueue(fail)
    until(lambda: job.refresh().state is JobState.SCHEDULED)
    stopping = threading.Thread(target=shop.later.stop, args=(shop.app, 3600))
    stopping.start()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert job.refresh().state is JobState.SCHEDULED


def test_h124_what_is_enqueued_around_a_stop_runs_later(shop: Shop) -> None:
    """The file takes it at any moment; a process that serves does it once."""
    ran: list[int] = []
    task = shop.later.task(name="note")(ran.append)
    jobs: list[Job[None]] = []
    enough = threading.Event()

    def enqueue() -> None:
        while not enough.is_set():
            jobs.append(shop.enqueue(task, len(jobs)))

    assert shop.app
    thread = threading.Thread(target=enqueue)
    thread.start()
    until(lambda: len(jobs) > 20)
    shop.later.stop(shop.app, PATIENCE)
    at_stop = len(jobs)
    until(lambda: len(jobs) > at_stop + 20)
    enough.set()
    thread.join(PATIENCE)
    shop.later.start(shop.app)
    for job in jobs:
        assert job.wait(timeout=PATIENCE).state is JobState.SUCCEEDED
    assert sorted(ran) == [*range(len(jobs))]


def test_h124_the_memory_takes_nothing_more() -> None:
    """It would be lost, and the error says so."""
    with Shop() as shop:
        task = shop.later.task(add)
        shop.run(task, 1)
        shop.later.stop(shop.app, PATIENCE)
        with pytest.raises(NotServingError):
            shop.enqueue(task, 2)


# Again and again


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_h125_start_and_stop_from_many_threads(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Fifty times, from ten: none waits for ever, and no thread or file is left open."""
    before = ours()
    shop.run(shop.later.task(add), 1)
    shop.later.stop(shop.app, PATIENCE)
    files = open_files()
    errors: list[BaseException] = []

    def turn() -> None:
        try:
            for _ in range(5):
                shop.later.start(shop.app)
                shop.later.stop(shop.app, PATIENCE)
        except BaseException as error:
            errors.append(error)

    run_all([threading.Thread(target=turn) for _ in range(10)])
    assert errors == []
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
    shop.later.stop(shop.app, PATIENCE)
    until(lambda: ours() <= before)
    assert open_files() <= files
    shop.later.start(shop.app)
    assert shop.run(shop.later.task(add), 1).result == 2


def test_h126_a_stop_while_still_starting(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever comes first, there is no half of a process afterwards, and a start works."""
    before = ours()
    shop.run(shop.later.task(add), 1)
    for _ in range(20):
        shop.later.stop(shop.app, PATIENCE)
        both = threading.Barrier(2, timeout=PATIENCE)

        def at_once(act: Callable[[], None], both: threading.Barrier = both) -> None:
            both.wait()
            act()

        starting = threading.Thread(target=at_once, args=(lambda: shop.later.start(shop.app),))
        stopping = threading.Thread(
            target=at_once, args=(lambda: shop.later.stop(shop.app, PATIENCE),)
        )
        run_all([starting, stopping])
        shop.later.start(shop.app)
        assert shop.run(shop.later.task(add), 1).result == 2
    shop.later.stop(shop.app, PATIENCE)
    until(lambda: ours() <= before)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
