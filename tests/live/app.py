"""The app under test, written as a user writes one; ``record`` is all that tells the tests.

Whoever *waits for a gate* waits until the test opens it, by creating a file. The wait is bounded,
and what it came to is recorded.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import click
from events import record
from flask import Blueprint, Flask, Response, abort, send_file
from operations import async_routes

from flask_later import Later, Service, current_job

later = Later()
site = Blueprint("site", __name__)
kinds = Blueprint("kinds", __name__, url_prefix="/kinds")

#: How long a gate is waited for: less than the client's patience, more than a busy machine needs.
PATIENCE = float(os.environ.get("LIVE_PATIENCE", "20"))


def is_open(gate: str) -> bool:
    return (Path(os.environ["LIVE_GATES"]) / gate).exists()


def wait_for_gate(gate: str) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not is_open(gate) and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_open(gate)


@later.service
class Pulse(Service):
    def startup(self) -> None:
        record("service-startup")

    def handle(self) -> None:
        record("service-beat")
        self.wait(3600)

    def shutdown(self) -> None:
        record("service-shutdown")


@later.task(name="quick")
def quick(key: str) -> str:
    record("task-ran", key=key, job=current_job.id)
    return key


@later.task(name="talkative")
def talkative(key: str) -> None:
    current_job.log(f"noted {key}")


@later.task(name="short")
def short(key: str) -> None:
    time.sleep(0.15)


@later.task(name="patient")
def patient(key: str) -> bool:
    """Knows nothing of stopping."""
    record("task-began", key=key)
    met = wait_for_gate(key)
    record("task-ended", key=key, met=met)
    return met


@later.task(name="outlasting")
def outlasting(key: str) -> bool:
    """Goes on to its end once it is told to stop, and not before."""
    record("task-began", key=key)
    deadline = time.monotonic() + PATIENCE
    while current_job.stop_reason is None and time.monotonic() < deadline:
        time.sleep(0.01)
    record("task-ended", key=key, reason=current_job.stop_reason)
    return True


@later.task(name="tracking")
def tracking(key: str) -> None:
    """Ends at its next item when it should stop."""
    record("task-began", key=key)
    try:
        for _ in current_job.track(range(int(PATIENCE * 100))):
            if is_open(key):
                break
            time.sleep(0.01)
    finally:
        record("task-ended", key=key, reason=current_job.stop_reason)


@later.task(name="asking")
def asking(key: str) -> None:
    """Asks whether it should stop, and ends by itself."""
    record("task-began", key=key)
    deadline = time.monotonic() + PATIENCE
    while not current_job.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    record("task-ended", key=key, reason=current_job.stop_reason)


@later.task(name="stubborn", timeout=0.5)
def stubborn(key: str) -> None:
    """Goes on after its timeout, whatever is raised in it."""
    record("task-began", key=key)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not is_open(key):
        try:
            time.sleep(0.01)
        except BaseException:
            record("task-refused-to-end", key=key)


@later.task(name="hungry")
def hungry(key: str) -> None:
    """Keeps what it takes: 20 MB."""
    kept.append(b"x" * 20 * 2**20)
    record("task-ran", key=key)


@later.task(name="deadly")
def deadly(key: str) -> None:
    """Kills its process."""
    record("task-began", key=key)
    os.kill(os.getpid(), signal.SIGKILL)


kept: list[bytes] = []
TASKS = {
    task.name: task
    for task in (
        quick,
        talkative,
        short,
        patient,
        outlasting,
        tracking,
        asking,
        stubborn,
        hungry,
        deadly,
    )
}


def hold(key: str) -> None:
    """A callback that ends only when the client says that it has the whole response."""
    record("callback-began", key=key)
    record("callback-ended", key=key, met=wait_for_gate(key))


def note(key: str, which: str) -> None:
    record("callback-ran", key=key, which=which)


@later.after_response
def log_exchange() -> None:
    record("exchange")


@later.after_response(blueprint=kinds)
def log_kind() -> None:
    record("kind")


@site.get("/pid")
def pid() -> str:
    return str(os.getpid())


@site.post("/jobs/<name>/<key>")
def enqueue(name: str, key: str) -> str:
    return TASKS[name].enqueue(key).id


@site.get("/jobs/<job_id>")
def show(job_id: str) -> dict[str, object]:
    job = later.job(job_id)
    return {"state": job.state, "attempts": job.attempts}


@site.post("/both/<key>")
def both(key: str) -> str:
    """A callback and a job of the same request."""
    later.after_this_response(note, key, "both")
    return quick.enqueue(key).id


@kinds.get("/length/<key>")
def length(key: str) -> str:
    later.after_this_response(hold, key)
    return "x" * 1000


@kinds.get("/nothing/<key>")
def nothing(key: str) -> str:
    later.after_this_response(hold, key)
    return ""


@kinds.get("/no-content/<key>")
def no_content(key: str) -> tuple[str, int]:
    later.after_this_response(hold, key)
    return "", 204


@kinds.get("/stream/<key>")
def stream(key: str) -> Response:
    later.after_this_response(hold, key)
    return Response(iter(["one ", "two ", "three"]))


@kinds.get("/file/<key>")
def file(key: str) -> Response:
    later.after_this_response(hold, key)
    return send_file(__file__)


def leave_both(key: str) -> None:
    later.after_this_response(note, key, "success only")
    later.after_this_response(hold, key).always()


@kinds.get("/error/<key>")
def error(key: str) -> tuple[str, int]:
    leave_both(key)
    return "error", 500


@kinds.get("/abort/<key>")
def give_up(key: str) -> str:
    leave_both(key)
    abort(503)


@kinds.get("/raise/<key>")
def fail(key: str) -> str:
    leave_both(key)
    raise ValueError(key)


@kinds.get("/broken/<key>")
def broken(key: str) -> Response:
    """Fails in the middle of its body."""

    def body() -> Iterator[str]:
        yield "one "
        raise ValueError(key)

    leave_both(key)
    return Response(body())


@kinds.get("/endless/<key>")
def endless(key: str) -> Response:
    """For a client that does not stay; without one, it ends in the end."""

    def body() -> Iterator[bytes]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            yield b"x" * 65536
            time.sleep(0.02)

    leave_both(key)
    return Response(body())


@click.command("store-job")
@click.argument("key")
def store_job(key: str) -> None:
    """A command of the app: stores a job for the processes that serve."""
    click.echo(quick.enqueue(key).id)


@click.command("store-jobs")
@click.argument("name")
@click.argument("keys", nargs=-1)
@click.option("--queue", default="default")
def store_jobs(name: str, keys: tuple[str, ...], queue: str) -> None:
    """Another: stores one job of the task for each key."""
    for key in keys:
        click.echo(TASKS[name].using(queue=queue).enqueue(key).id)


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["LIVE_INSTANCE"])
    app.config.from_prefixed_env()
    app.register_blueprint(site)
    app.register_blueprint(kinds)
    app.register_blueprint(async_routes(later, wait_for_gate, is_open))
    app.cli.add_command(store_job)
    app.cli.add_command(store_jobs)
    later.init_app(app)
    return app
