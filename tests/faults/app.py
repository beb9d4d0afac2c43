"""The app under fire: tasks that leave their effects in a file, and a view that enqueues."""

from __future__ import annotations

import ctypes
import math
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import points  # noqa: F401 (first of all: it wraps what the library uses)
from events import PATIENCE, new_key, record
from flask import Flask, abort

from flask_later import Later, Task, current_job, signals
from flask_later.core.job import Hint, JobRecord
from flask_later.errors import StoreError

later = Later()


def is_open(gate: str) -> bool:
    return (Path(os.environ["LIVE_GATES"]) / gate).exists()


def begin(key: str) -> None:
    record("start", key=key, job=current_job.id, fence=current_job.fence)


def end(key: str) -> None:
    record("end", key=key, job=current_job.id, fence=current_job.fence)


@later.task(name="effect")
def effect(key: str, seconds: float = 0.0, ballast: str = "") -> str:
    begin(key)
    time.sleep(seconds)
    end(key)
    return key


@later.task(name="trifle")
def trifle(number: int) -> int:
    """Leaves no trace."""
    return number


@later.task(name="hold")
def hold(key: str) -> str:
    """Waits until the test opens the gate of that name. That it is asked to stop it only says."""
    begin(key)
    was_asked = False
    deadline = time.monotonic() + 4 * PATIENCE
    while not is_open(key) and time.monotonic() < deadline:
        if not was_asked and current_job.stop_reason is not None:
            was_asked = True
            record("asked", key=key)
        time.sleep(0.01)
    end(key)
    return key


@later.task(name="leave_child")
def leave_child(key: str) -> None:
    """Leaves a process behind that lives on when its parent is killed."""
    begin(key)
    child = os.fork()
    if child == 0:
        deadline = time.monotonic() + 4 * PATIENCE
        while not is_open(key) and time.monotonic() < deadline:
            time.sleep(0.05)
        os._exit(0)
    record("forked", key=key, child=child)
    while not is_open(key):
        time.sleep(0.01)
    end(key)


@later.task(name="die")
def die(key: str, how: str) -> None:
    begin(key)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    DEATHS[how]()
    end(key)


@later.task(name="seize")
def seize(key: str, seconds: float) -> None:
    """Lets nobody else have the interpreter: a regular expression that tries every way."""
    begin(key)
    tried, length = 0.0, 18
    while tried < seconds:
        began = time.monotonic()
        re.match("(a+)+$", "a" * length + "b")
        tried = time.monotonic() - began
        # Each letter takes twice as long.
        length += max(1, int(math.log2(seconds / tried)))
    end(key)


DEATHS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "exit": lambda: os._exit(0),
}
TASKS = {task.name: task for task in (effect, hold, leave_child, die, seize)}


def produce(task: Task[..., object], *arguments: object, key: str = "") -> str | None:
    """Enqueue, saying before and after what the caller knows of it."""
    key = key or new_key()
    record("offered", key=key)
    try:
        job = task.enqueue(key, *arguments)
    except StoreError as error:
        record("refused", key=key, error=type(error).__name__)
        return None
    record("acknowledged", key=key, job=job.id)
    return job.id


def hint_again(app: Flask, job: JobRecord, **_: object) -> None:
    """Every hint comes three times."""
    state = app.extensions["later"]
    state.engine.deliver([Hint(state.store.identity, job.queue, job.id, job.fence)] * 2)


def create_app(**config: object) -> Flask:
    app = Flask(__name__, instance_path=os.environ["LIVE_INSTANCE"])
    app.config.from_prefixed_env()
    app.config.update(config)
    later.init_app(app)
    if "DOUBLED" in os.environ:
        signals.job_enqueued.connect(hint_again, app, weak=False)

    @app.post("/enqueue/<float:seconds>")
    def enqueue(seconds: float) -> str:
        return produce(effect, seconds) or abort(503)

    @app.get("/block")
    def block() -> str:
        time.sleep(4 * PATIENCE)
        return "too late"

    @app.get("/handlers")
    def handlers() -> dict[str, str]:
        """Where the handlers of this process come from."""
        current = {number.name: signal.getsignal(number) for number in signal.Signals}
        return {name: getattr(each, "__module__", "") for name, each in current.items()}

    return app
