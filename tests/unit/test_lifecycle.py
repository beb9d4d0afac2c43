"""When a process begins to work for an app, and what one app has to do with another."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, current_app
from tests.shop import PATIENCE, Shop, until

from flask_later import JobState, Later, signals
from flask_later.errors import (
    AlreadyInitializedError,
    NotInitializedError,
    NotServingError,
    OutsideAppContextError,
)
from flask_later.runtime.lifecycle import Lifecycle
from flask_later.runtime.worker_options import WorkerOptions


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


def add(a: int, b: int = 1) -> int:
    return a + b


def new_threads(before: set[threading.Thread]) -> set[str]:
    """Return the names, without their numbers, of the threads that have begun since *before*."""
    return {thread.name.rstrip("0123456789-") for thread in {*threading.enumerate()} - before}


@pytest.fixture
def before() -> set[threading.Thread]:
    """What ran before the test."""
    return {*threading.enumerate()}


def lifecycle(app: Flask) -> Lifecycle:
    made: Lifecycle = app.extensions["later.lifecycle"]
    return made


# init_app


def test_setting_up_starts_nothing(tmp_path: Any) -> None:
    """No thread, no file: masters, reloaders and commands import the app as well."""
    before = threading.active_count()
    app = Flask("shop", instance_path=str(tmp_path))
    later = Later(app)
    later.task(add)
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []
    assert lifecycle(app).current() is None


def test_an_app_can_be_given_at_once() -> None:
    """``Later(app)`` is ``Later()`` and ``init_app(app)``."""
    app = Flask("shop")
    assert Later(app)
    assert app.extensions["later"].app is app


def test_an_app_is_set_up_once() -> None:
    """A second call is refused, by the same Later or another; the first stays."""
    app, later = Flask("shop"), Later()
    later.init_app(app)
    state = app.extensions["later"]
    for each in (later, Later()):
        with pytest.raises(AlreadyInitializedError, match="'shop' already has a 'Later'"):
            each.init_app(app)
    assert app.extensions["later"] is state


@pytest.mark.parametrize("method", ["start", "stop"])
def test_an_app_that_is_not_set_up_cannot_be_started(method: str) -> None:
    """The error says what was forgotten."""
    with pytest.raises(NotInitializedError, match=r"Did you forget later\.init_app\(app\)"):
        getattr(Later(), method)(Flask("bare"))


def test_another_laters_app_cannot_be_started(shop: Shop) -> None:
    """The error says where the app's own was made."""
    app = shop.make_app()
    with pytest.raises(NotInitializedError, match=r"created at .*shop\.py"):
        Later().start(app)


# The start


def test_a_start_begins_to_work(before: set[threading.Thread], shop: Shop) -> None:
    """Without a request; doing it again changes nothing."""
    process = shop.process
    assert {"later-worker", "later-maintenance"} <= new_threads(before)
    threads = threading.active_count()
    shop.later.start(shop.app)
    assert (shop.process, threading.active_count()) == (process, threads)


def test_a_request_begins_to_work() -> None:
    """The first one, whatever it asks for."""
    with Shop() as shop:
        task, app = shop.later.task(add), shop.make_app()
        shop.__dict__["app"] = app

        @app.get("/")
        def index() -> str:
            return task.enqueue(1).id

        job_id = app.test_client().get("/").text
        with app.app_context():
            assert task.job(job_id).wait(timeout=PATIENCE).result == 2


def test_threads_that_start_together_start_once() -> None:
    """However many requests come in at the same time."""
    with Shop() as shop:
        app, started = shop.make_app(), list[str]()
        shop.__dict__["app"] = app

        def receive(sender: object, worker: str, **_: object) -> None:
            started.append(worker)

        signals.worker_started.connect(receive, app)
        start = threading.Barrier(8)

        def serve() -> None:
            start.wait(PATIENCE)
            shop.later.start(app)

        threads = [threading.Thread(target=serve) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(started) == 1


def test_a_process_may_serve_without_running_jobs(
    before: set[threading.Thread], tmp_path: Any
) -> None:
    """``LATER_EMBEDDED = False``: it stores them for those who work."""
    with Shop(EMBEDDED=False, STORE=f"sqlite:///{tmp_path}/later.sqlite3") as shop:
        job = shop.enqueue(shop.later.task(add), 1)
        assert "later-worker" not in new_threads(before)
        assert job.refresh().state is JobState.QUEUED


def test_services_need_an_app(shop: Shop) -> None:
    """``later.services`` belongs to the current app."""
    with pytest.raises(OutsideAppContextError, match=r"later\.services"):
        assert shop.later.services


# The end


def test_a_stop_ends_all_threads(before: set[threading.Thread], shop: Shop) -> None:
    """Doing it again changes nothing."""
    shop.run(shop.later.task(add), 1)
    shop.later.stop(shop.app, PATIENCE)
    shop.later.stop(shop.app, PATIENCE)
    assert new_threads(before) == set()


def test_what_never_began_needs_no_stop(shop: Shop) -> None:
    """A stop before any start is fine."""
    app = shop.make_app()
    shop.later.stop(app)
    assert lifecycle(app).current() is None


def test_what_has_stopped_takes_no_jobs(shop: Shop) -> None:
    """A memory store would lose them."""
    task = shop.later.task(add)
    shop.run(task, 1)
    shop.later.stop(shop.app, PATIENCE)
    with pytest.raises(NotServingError, match=r"later\.start\(app\)"):
        shop.enqueue(task, 1)


def test_what_has_stopped_can_be_started_again(shop: Shop) -> None:
    """With another worker, on the same store."""
    task = shop.later.task(add)
    job, first = shop.enqueue(task.using(delay=0.05), 1), shop.process.worker.id
    shop.later.stop(shop.app, PATIENCE)
    shop.later.start(shop.app)
    assert job.wait(timeout=PATIENCE).result == 2
    assert shop.process.worker.id != first


def test_a_stop_waits_no_longer_than_it_may(shop: Shop) -> None:
    """``LATER_SHUTDOWN_TIMEOUT``, where nothing else is said."""
    gate, shop.settings["SHUTDOWN_TIMEOUT"] = shop.gate(), 0.05
    job = shop.enqueue(shop.later.task(name="hang")(lambda: gate.wait(PATIENCE)))
    shop.later.stop(shop.app)
    assert not job.refresh().is_finished


def test_an_app_that_has_stopped_is_let_go() -> None:
    """With its store and its connections, also if a request has enqueued what it ran."""
    shop = Shop()
    task = shop.later.task(add)
    with shop:
        with shop.app.test_request_context("https://shop.example/"):
            task.enqueue(1).wait(PATIENCE)
        app = weakref.ref(shop.app)
    del shop, task
    until(lambda: gc.collect() is not None and app() is None)


# Several processes


def test_a_memory_store_under_several_processes_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the first request: the server says so itself."""
    with Shop() as shop:
        app = shop.make_app()
        shop.__dict__["app"] = app
        client = app.test_client()
        for _ in range(3):
            client.get("/", environ_overrides={"wsgi.multiprocess": True})
    complaints = [line for line in caplog.messages if "Several processes serve this app" in line]
    assert len(complaints) == 1
    assert "LATER_STORE = 'sqlite:///later.sqlite3'" in complaints[0]


@pytest.mark.parametrize(("group", "times"), [("shop.example|", 1), ("", 0)])
def test_a_sub_interpreter_of_mod_wsgi_is_warned_of_once(
    caplog: pytest.LogCaptureFixture, group: str, times: int
) -> None:
    """The main one has no name, and is fine."""
    with Shop() as shop:
        app = shop.make_app()
        shop.__dict__["app"] = app
        for _ in range(3):
            app.test_client().get("/", environ_overrides={"mod_wsgi.application_group": group})
    assert caplog.text.count("WSGIApplicationGroup %{GLOBAL}") == times


def test_a_store_that_all_see_needs_no_warning(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does one process."""
    with Shop(STORE=f"sqlite:///{tmp_path}/later.sqlite3") as shop:
        app = shop.make_app()
        shop.__dict__["app"] = app
        app.test_client().get("/", environ_overrides={"wsgi.multiprocess": True})
    assert "Several processes" not in caplog.text


# Several apps


def test_one_later_may_serve_two_apps() -> None:
    """Each has its own store, and runs its own jobs in its own context."""
    with Shop() as first:
        task = first.later.task(name="name")(lambda: current_app.name)
        second = Shop()
        second.later = first.later
        with second:
            second.__dict__["app"] = app = second.make_app("second")
            second.later.start(app)
            jobs = [shop.run(task) for shop in (first, second)]
            assert [job.result for job in jobs] == ["shop", "second"]
            assert first.store is not second.store
            assert jobs[0].id not in second.store.get([jobs[0].id])


def test_two_laters_on_two_apps_never_meet(shop: Shop) -> None:
    """Neither knows the other's tasks, and stopping one leaves the other alone."""
    with Shop() as other:
        tasks = [each.later.task(name="add")(add) for each in (shop, other)]
        assert [each.run(task, 1).result for each, task in zip((shop, other), tasks, strict=True)]
        with pytest.raises(NotInitializedError):
            other.enqueue(tasks[0], 1)
        other.later.stop(other.app, PATIENCE)
        assert shop.run(tasks[0], 2).result == 3


def test_signals_of_two_apps_are_apart(shop: Shop) -> None:
    """The sender is the app."""
    told: list[object] = []

    def receive(sender: object, **_: object) -> None:
        told.append(sender)

    with Shop() as other:
        signals.job_enqueued.connect(receive, shop.app)
        for each in (shop, other):
            each.run(each.later.task(add), 1)
    assert told == [shop.app]


# A process that only works


def begin_to_work(shop: Shop) -> Flask:
    """Have the app's jobs run here, as ``flask later worker`` does."""
    app = shop.make_app(LATER_EMBEDDED=False)
    shop.__dict__["app"] = app
    lifecycle(app).work(WorkerOptions(2))
    return app


def test_a_worker_runs_jobs_and_nothing_else(before: set[threading.Thread]) -> None:
    """No services, no callbacks; what processes that serve do is another thing."""
    with Shop() as shop:
        shop.later.service(lambda: None, name="idle")
        task = shop.later.task(add)
        begin_to_work(shop)
        assert shop.run(task, 1).result == 2
        begun = new_threads(before)
        assert {"later-worker", "later-maintenance"} <= begun
        assert not {"later-callback", "later-service-idle"} & begun
        assert lifecycle(shop.app).ensure_started()


def test_a_job_of_a_worker_can_ask_its_app() -> None:
    """As a client does; what is left after that response runs as well."""
    with Shop() as shop:
        called = threading.Event()

        @shop.later.task
        def ask() -> str:
            return current_app.test_client().get("/").text

        def index() -> str:
            shop.later.after_this_response(called.set)
            return "asked"

        begin_to_work(shop).add_url_rule("/", view_func=index)

        assert shop.run(ask).result == "asked"
        assert called.wait(PATIENCE)
