"""The same app on every engine, by configuration alone, with real workers and real brokers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from redis import Redis as Client
from rq import Worker as RQWorker
from sqlalchemy import inspect, text
from tests import databases
from tests.brokers import running_redis

from .events import new_key, wait_until
from .programs import HERE, Program, environment
from .servers import SERVERS, Server

pytestmark = [pytest.mark.live, pytest.mark.services]

BIN = Path(sys.executable).parent
OURS = (sys.executable, "-m", "flask", "--app=app", "later", "worker", "--threads=2")
CELERY = (f"{BIN}/celery", "-A", "flask_later.engines.celery_app", "worker")
RQ = (f"{BIN}/rq", "worker", "-w", "flask_later.engines.rq_worker.Worker", "default")


@dataclass(frozen=True)
class Way:
    """An engine, the broker that it needs, and the command that starts its worker."""

    engine: str
    broker: str = ""
    command: Sequence[str] = OURS


WAYS = {
    "native": Way("native"),
    "celery": Way("celery", "redis"),
    "celery-processes": Way("celery", "redis", (*CELERY, "--concurrency=2")),
    "celery-threads": Way("celery", "redis", (*CELERY, "--pool=threads", "--concurrency=2")),
    "celery-rabbitmq": Way("celery", "rabbitmq"),
    "celery-rabbitmq-processes": Way("celery", "rabbitmq", (*CELERY, "--concurrency=2")),
    "rq": Way("rq", "redis"),
    "rq-processes": Way("rq", "redis", RQ),
}
BROKERED = [name for name, way in WAYS.items() if way.broker]


@dataclass(kw_only=True)
class Worker(Program):
    command: Sequence[str] = OURS  # type: ignore[misc]

    @property
    def name(self) -> str:
        return "worker"


@dataclass
class Site:
    """An app's processes, on a database and a broker of their own."""

    folder: Path
    way: Way
    settings: Mapping[str, Any]
    stack: ExitStack

    def serve(self) -> Server:
        server = Server(
            config=SERVERS["gunicorn-gthread"], folder=self.folder, settings=self.settings
        )
        return self.stack.enter_context(server)

    def work(self, *options: str) -> Worker:
        worker = Worker(
            folder=self.folder, settings=self.settings, command=(*self.way.command, *options)
        )
        self.stack.enter_context(worker)
        wait_until(lambda: self.workers() or not worker.runs, lambda: worker.log)
        assert worker.runs, worker.log
        return worker

    def flask(self, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app=app", *arguments],
            cwd=HERE,
            env=environment(self.folder, {**self.settings, **changes}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def workers(self) -> int:
        """How many workers the store knows."""
        with databases.reached(self.settings["store"]).connect() as db:
            if not inspect(db).has_table("later_worker"):
                return 0
            return db.execute(text("SELECT count(*) FROM later_worker")).scalar_one()

    def is_in_state(self, server: Server, job: str, state: str) -> bool:
        with server.client() as client:
            return json.loads(client.get(f"/jobs/{job}").text)["state"] == state

    def enqueue(self, server: Server, task: str, key: str) -> str:
        with server.client() as client:
            return client.post(f"/jobs/{task}/{key}").text


MakeSite = Callable[[str], Site]


@pytest.fixture
def make_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeSite]:
    with ExitStack() as stack:

        def make(name: str, **settings: Any) -> Site:
            way = WAYS[name]
            store = stack.enter_context(databases.fresh("postgresql"))
            broker: Any = request.getfixturevalue(way.broker) if way.broker else None
            url = "" if broker is None else broker.new_url()
            given = {"broker": url, "RQ_REDIS_URL": url} if url else {"embedded": "false"}
            base = {"store": store, "engine": way.engine, "FLASK_APP": "app"}
            return Site(tmp_path, way, {**base, **given, **settings}, stack)

        yield make


@pytest.mark.parametrize("name", WAYS)
def test_the_same_app_runs_on(name: str, make_site: MakeSite) -> None:
    """A request leaves a job, and another process runs it: no line of code differs."""
    site = make_site(name)
    server, _ = site.serve(), site.work()
    keys = [new_key() for _ in range(5)]
    jobs = [site.enqueue(server, "quick", key) for key in keys]
    ran = [server.events.wait_for("task-ran", key=key)[0] for key in keys]
    with server.client() as client:
        serving = int(client.get("/pid").text)
    assert serving not in {event.pid for event in ran}
    for job in jobs:
        wait_until(lambda job=job: site.is_in_state(server, job, "succeeded"), "it has succeeded")
    assert len(server.events.find("task-ran")) == 5


@pytest.mark.parametrize("name", WAYS)
def test_a_worker_that_is_stopped_gives_its_job_back(name: str, make_site: MakeSite) -> None:
    """The job is told, ends at its next item, and the next worker runs it; no try is lost."""
    site = make_site(name)
    server, worker, key = site.serve(), site.work(), new_key()
    job = site.enqueue(server, "tracking", key)
    server.events.wait_for("task-began", key=key)
    assert worker.stop() == 0, worker.log
    assert server.events.find("task-ended", key=key, reason="shutdown")
    assert site.is_in_state(server, job, "queued")
    worker.open_gate(key)
    site.work()
    wait_until(lambda: site.is_in_state(server, job, "succeeded"), "it has succeeded")
    with server.client() as client:
        assert json.loads(client.get(f"/jobs/{job}").text)["attempts"] == 1


@pytest.mark.parametrize("name", WAYS)
def test_no_worker_is_left_in_the_store(name: str, make_site: MakeSite) -> None:
    """After its end it is not taken for one that has died."""
    site = make_site(name)
    worker = site.work()
    assert worker.stop() == 0, worker.log
    assert site.workers() == 0


@pytest.mark.parametrize("name", BROKERED)
def test_a_job_without_a_hint_runs(name: str, make_site: MakeSite, tmp_path: Path) -> None:
    """A command stored it while its broker was away; nobody serves, so a worker has to find it."""
    site = make_site(name)
    scheme = str(site.settings["broker"]).partition("://")[0]
    key = new_key()
    done = site.flask("store-job", key, broker=f"{scheme}://127.0.0.1:9/0")
    assert done.returncode == 0, done.stderr
    assert "cannot be used" in done.stderr
    worker = site.work()
    worker.events.wait_for("task-ran", key=key)


@pytest.mark.parametrize("name", ["celery", "rq"])
def test_a_broker_that_dies_loses_no_job(name: str, make_site: MakeSite, tmp_path: Path) -> None:
    """Requests are answered without it; once it is back, all jobs run."""
    with running_redis(tmp_path / "broker") as broker:
        site = make_site(name)
        site.settings = {**site.settings, "broker": broker.url(1)}
        server, _ = site.serve(), site.work()
        first, second = new_key(), new_key()
        site.enqueue(server, "quick", first)
        server.events.wait_for("task-ran", key=first)
        broker.kill()
        with server.client(timeout=5.0) as client:
            jobs = [client.post(f"/jobs/quick/{second}").text for _ in range(20)]
        broker.start()
        wait_until(
            lambda: all(site.is_in_state(server, job, "succeeded") for job in jobs),
            "all have succeeded",
            timeout=60,
        )
        assert len(server.events.find("task-ran", key=second)) == len(jobs)


@pytest.mark.parametrize("name", ["rq", "rq-processes"])
def test_a_redis_that_comes_back_empty_knows_its_workers_again(
    name: str, make_site: MakeSite, tmp_path: Path
) -> None:
    """The worker that stayed registers anew, so the doctor misses nobody."""
    with running_redis(tmp_path / "broker") as broker:
        site = make_site(name)
        site.settings = {**site.settings, "broker": broker.url(1), "RQ_REDIS_URL": broker.url(1)}
        worker = site.work()
        wait_until(lambda: takers(broker.url(1)), lambda: worker.log)
        broker.kill()
        broker.start()
        wait_until(lambda: takers(broker.url(1)), lambda: worker.log, timeout=90)
        healthy = site.flask("later", "doctor")
        assert "no worker takes" not in healthy.stdout
        assert healthy.returncode == 0, healthy.stdout
        assert worker.runs, worker.log


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("celery-processes", (*CELERY, "--concurrency=1", "-Q", "elsewhere")),
        ("rq-processes", (*RQ[:-1], "elsewhere")),
    ],
)
def test_a_worker_of_other_queues_says_that_it_runs_no_job(
    name: str, command: Sequence[str], make_site: MakeSite
) -> None:
    """It may be there for the app's own tasks, or a name is misspelled."""
    site = make_site(name)
    worker = Worker(folder=site.folder, settings=site.settings, command=command)
    site.stack.enter_context(worker)
    wait_until(
        lambda: "takes from elsewhere, and runs no job of the Flask app" in worker.log,
        lambda: worker.log,
    )


def test_a_worker_goes_on_whose_queue_was_deleted_under_load(make_site: MakeSite) -> None:
    """The broker takes its consumer away in the middle of jobs; it connects anew, and works."""
    site = make_site("celery-rabbitmq")
    server, worker = site.serve(), site.work("--threads=4")

    def stream(number: int) -> list[str]:
        """Enqueue more than the worker can do meanwhile."""
        jobs: list[str] = []
        for _ in range(number):
            jobs.append(site.enqueue(server, "short", new_key()))
            time.sleep(0.02)
        return jobs

    jobs = stream(100)
    with Connection(site.settings["broker"]) as connection:
        connection.default_channel.queue_delete("default")
    jobs += stream(200)
    for job in jobs:
        wait_until(
            lambda job=job: site.is_in_state(server, job, "succeeded"),
            lambda: worker.log,
            timeout=60,
        )


def takers(url: str) -> list[str]:
    """Return the workers that take from the queue of all hints, as RQ lists them."""
    with closing(Client.from_url(url)) as redis:
        found = RQWorker.all(connection=redis)
        return [worker.name for worker in found if "default" in worker.queue_names()]


@pytest.mark.parametrize("name", ["celery", "celery-processes", "rq", "rq-processes"])
def test_a_database_that_dies_loses_no_job(name: str, make_site: MakeSite) -> None:
    """In the middle of a job, whose outcome is kept; who enqueues meanwhile is told."""
    with closing(databases.start("postgresql")) as database:
        site = make_site(name)
        site.settings = {**site.settings, "store": database.url}
        server, worker = site.serve(), site.work()
        key, later_key = new_key(), new_key()
        job = site.enqueue(server, "patient", key)
        server.events.wait_for("task-began", key=key)
        database.kill()
        with server.client() as client:
            assert client.post(f"/jobs/quick/{later_key}").status == 500
        assert "cannot be reached" in server.log
        worker.open_gate(key)
        server.events.wait_for("task-ended", key=key)
        database.start()
        wait_until(
            lambda: site.is_in_state(server, job, "succeeded"), lambda: worker.log, timeout=90
        )
        assert databases.PASSWORD not in server.log + worker.log


@pytest.mark.parametrize("name", ["celery", "rq"])
def test_a_worker_for_one_queue_of_many_needs_their_names(name: str, make_site: MakeSite) -> None:
    """It ends at once, in place of starting processes that end, again and again."""
    refused = make_site(name).flask("later", "worker", "--queues", "mail")
    assert refused.returncode == 1
    assert "Set LATER_QUEUES to a list" in refused.stderr
    assert "ended with exit code" not in refused.stderr


@pytest.mark.parametrize("name", ["celery", "celery-processes", "rq", "rq-processes"])
def test_a_worker_without_its_database_says_so(name: str, make_site: MakeSite) -> None:
    """Ours ends with the reason; a library's own stays, says it in a line, and tries again."""
    site = make_site(name)
    store = f"postgresql://later:{databases.PASSWORD}@127.0.0.1:9/later"
    worker = Worker(
        folder=site.folder, settings={**site.settings, "store": store}, command=site.way.command
    )
    with worker:
        wait_until(lambda: "cannot be reached" in worker.log, lambda: worker.log)
        if site.way.command is OURS:
            assert worker.wait() == 1
        else:
            assert worker.runs
    assert "postgresql://later:***@127.0.0.1:9/later" in worker.log
    assert databases.PASSWORD not in worker.log
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("name", ["celery", "celery-rabbitmq", "rq"])
def test_doctor_looks_at_the_broker(name: str, make_site: MakeSite) -> None:
    """Whether it answers, who takes the hints, and for which store."""
    site = make_site(name)
    alone = site.flask("later", "doctor")
    assert "no worker takes the hints of the broker's queue 'default'" in alone.stdout
    assert alone.returncode == 0, alone.stdout
    site.work()
    healthy = site.flask("later", "doctor")
    assert "broker: " in healthy.stdout
    assert "with 0 workers" not in healthy.stdout
    assert "no worker takes" not in healthy.stdout
    assert "another store" not in healthy.stdout
    with databases.fresh("postgresql") as other:
        strange = site.flask("later", "doctor", store=other)
    assert "with another store than ours" in strange.stdout
    scheme = str(site.settings["broker"]).partition("://")[0]
    broken = site.flask("later", "doctor", broker=f"{scheme}://u:correct-horse@127.0.0.1:9/0")
    assert broken.returncode == 1
    assert "cannot be used" in broken.stdout
    assert "correct-horse" not in broken.stdout + broken.stderr


def test_a_worker_whose_parent_is_killed_leaves(make_site: MakeSite) -> None:
    """Its child gives back what it has in hand, and another worker runs it.

    That is RQ's. Celery has the kernel kill its children with their parent, so there the lease
    has to end.
    """
    site = make_site("rq-processes")
    server, worker, key = site.serve(), site.work(), new_key()
    job = site.enqueue(server, "tracking", key)
    server.events.wait_for("task-began", key=key)
    os.kill(worker.pid, signal.SIGKILL)
    server.events.wait_for("task-ended", key=key, reason="shutdown")
    wait_until(lambda: site.is_in_state(server, job, "queued"), "it is given back")
