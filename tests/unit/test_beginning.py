"""How a process begins when its store cannot be opened, and when a fork or a signal comes."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from tests.shop import PATIENCE, Shop, until

from flask_later import JobState
from flask_later.core.clock import SystemClock
from flask_later.errors import StoreBusyError, StoreError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.tasks.opening import Opening


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "later.sqlite3"


@pytest.fixture
def shop(path: Path) -> Iterator[Shop]:
    with Shop(STORE=f"sqlite:///{path}") as shop:
        yield shop


def make_site(shop: Shop) -> Flask:
    """An app with a page that needs no store, one that leaves a callback, and one that enqueues."""
    task = shop.later.task(name="task")(lambda: None)
    app = shop.make_app()
    shop.__dict__["app"] = app
    called = threading.Event()

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/callback")
    def callback() -> str:
        shop.later.after_this_response(called.set)
        return "called" if called.is_set() else "left"

    @app.get("/job")
    def job() -> str:
        return task.enqueue().id

    @app.errorhandler(StoreError)
    def refused(error: StoreError) -> tuple[str, int]:
        return str(error), 503

    return app


def test_a_store_that_cannot_be_opened_takes_no_page_down(
    shop: Shop, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what needs it fails, with the reason; it is said once, and all begins once it can."""
    path.parent.write_text("not a folder")
    client = make_site(shop).test_client()
    assert client.get("/plain").text == "plain"
    until(lambda: client.get("/callback").text == "called")
    refused = client.get("/job")
    assert refused.status_code == 503
    assert "LATER_STORE" in refused.text
    path.parent.unlink()
    job_id = client.get("/job").text
    with shop.app.app_context():
        assert shop.later.job(job_id).wait(timeout=PATIENCE).state is JobState.SUCCEEDED
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert ["cannot be opened" in each for each in said] == [True, False]
    assert said[1] == "the store is open now, and jobs run"


def test_a_start_by_hand_survives_a_store_that_cannot_be_opened(shop: Shop, path: Path) -> None:
    """A server's hook that raised would end its process, and so the site."""
    path.parent.write_text("not a folder")
    app = make_site(shop)
    shop.later.start(app)
    with app.app_context(), pytest.raises(StoreError):
        shop.later.job("0" * 32)
    shop.later.stop(app)


@pytest.fixture
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that has the file for itself, for reading too."""
    with closing(SQLiteStore(path, SystemClock())) as store:
        store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        yield other


def test_the_first_request_does_not_wait_for_a_locked_store(
    shop: Shop, locked: sqlite3.Connection
) -> None:
    """An enqueue does, as long as it always would, and all begins once the file is free."""
    client = make_site(shop).test_client()
    began = time.monotonic()
    assert client.get("/plain").text == "plain"
    assert time.monotonic() - began < 3.0
    assert "was locked by another process" in client.get("/job").text
    locked.execute("ROLLBACK")
    locked.close()
    job_id = client.get("/job").text
    with shop.app.app_context():
        assert shop.later.job(job_id).wait(timeout=PATIENCE).state is JobState.SUCCEEDED


def test_threads_that_open_a_locked_store_together_wait_once(
    path: Path, locked: sqlite3.Connection
) -> None:
    """Not one after the other: the last would wait as often as there are threads."""
    opening = Opening(SQLiteStore(path, SystemClock(), patience=0.5))
    refused: list[BaseException] = []

    def open_it() -> None:
        try:
            opening.open()
        except StoreBusyError as error:
            refused.append(error)

    began = time.monotonic()
    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(refused) == 8
    assert time.monotonic() - began < 8 * 0.5


def test_a_stop_ends_the_tries_to_open(shop: Shop, path: Path) -> None:
    """And the thread that tries."""
    path.parent.write_text("not a folder")
    app = make_site(shop)
    shop.later.start(app)
    shop.later.stop(app, PATIENCE)
    assert "later-start" not in {thread.name for thread in threading.enumerate()}


def test_where_jobs_are_kept_is_said_once(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """And again where it was closed in between."""
    app = make_site(shop)
    with caplog.at_level(logging.INFO, "flask_later"):
        for times in (1, 2):
            shop.later.start(app)
            app.extensions["later"].store.stats()
            shop.later.stop(app, PATIENCE)
            assert caplog.text.count("jobs are kept in") == times


def in_child(check: Callable[[], object]) -> int:
    """Return how a forked child ended in which *check* has to return within ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        check()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_fork_while_another_thread_puts_the_parts_together(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child puts its own together; it does not wait for a thread that it does not have."""
    app = make_site(shop)
    state = app.extensions["later"]
    entered, leave = threading.Event(), threading.Event()
    opened = SQLiteStore.open

    def open_slowly(store: SQLiteStore) -> None:
        if threading.current_thread() is thread:
            entered.set()
            leave.wait(PATIENCE)
        opened(store)

    thread = threading.Thread(target=lambda: state.store)
    monkeypatch.setattr(SQLiteStore, "open", open_slowly)
    thread.start()
    assert entered.wait(PATIENCE)
    assert in_child(lambda: state.opening.open().stats()) == 0
    leave.set()
    thread.join(PATIENCE)
    state.store.close()


# Imports the store slowly, on a thread, and forks in the middle of it.
IMPORTING = """
import os, signal, sys, threading, time
from flask import Flask
from flask_later import Later

class Slow:
    def find_spec(self, name, path, target=None):
        if name == "flask_later.stores.sqlite.schema":
            importing.set()
            time.sleep(0.5)

importing = threading.Event()
sys.meta_path.insert(0, Slow())
app = Flask("shop", instance_path=sys.argv[1])
Later(app)
thread = threading.Thread(target=lambda: app.extensions["later"].store)
thread.start()
importing.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    app.extensions["later"].store.stats()
    os._exit(0)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_fork_while_another_thread_imports_the_store(tmp_path: Path) -> None:
    """It waits for the import: the child would wait for it for ever."""
    assert subprocess.run([sys.executable, "-c", IMPORTING, tmp_path], check=False).returncode == 0


# A server's signal handler raises while the process begins.
INTERRUPTED = """
import signal, sys, threading, time
from flask import Flask
from flask_later import Later, Service

app = Flask("shop", instance_path=sys.argv[1])
app.config["LATER_STORE"] = "sqlite:////dev/null/later.sqlite3"
app.config["LATER_SHUTDOWN_TIMEOUT"] = 30
later = Later(app)

@later.service
class Waiter(Service):
    def startup(self):
        print("startup", flush=True)
        signal.raise_signal(signal.SIGALRM)

    def handle(self):
        self.wait(60)

    def shutdown(self):
        time.sleep(0.2)
        print("shutdown", flush=True)

signal.signal(signal.SIGALRM, lambda number, frame: sys.exit(3))
try:
    later.start(app)
    time.sleep(60)
finally:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_start_that_a_signal_interrupts_leaves_no_service_unended(tmp_path: Path) -> None:
    """The process ends as its server wants, and its services are shut down."""
    command = [sys.executable, "-c", INTERRUPTED, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stdout.split() == ["startup", "interrupted", "shutdown"], done.stderr
