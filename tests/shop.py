"""An app with a ``Later`` and real worker threads, for the tests that enqueue and wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from flask import Flask

from flask_later import Job, Later, Task
from flask_later.core.engine import Ran
from flask_later.core.store import Store
from flask_later.runtime.process import Process
from flask_later.tasks.state import AppState

#: No test waits so long, unless it fails.
PATIENCE = 10.0


class Shop:
    """Begins to work at the first look at ``app``, so that tasks and settings can come before."""

    def __init__(self, **settings: Any) -> None:
        self.later = Later()
        self.settings = {"STORE": "memory://", "MANUAL": False, "THREADS": 2, **settings}
        self.gates: list[threading.Event] = []

    def __enter__(self) -> Shop:
        return self

    def __exit__(self, *_: object) -> None:
        for gate in self.gates:
            gate.set()
        if "app" in self.__dict__:
            self.later.stop(self.app, PATIENCE)

    def make_app(self, name: str = "shop", **config: Any) -> Flask:
        """Return an app that is set up and does not work yet."""
        app = Flask(name)
        app.config.update({f"LATER_{key}": value for key, value in self.settings.items()})
        app.config.update(config)
        self.later.init_app(app)
        return app

    @cached_property
    def app(self) -> Flask:
        app = self.make_app()
        self.__dict__["app"] = app
        self.later.start(app)
        return app

    @property
    def state(self) -> AppState:
        state: AppState = self.app.extensions["later"]
        return state

    @property
    def store(self) -> Store:
        return self.state.store

    @property
    def process(self) -> Process:
        process: Process = self.app.extensions["later.lifecycle"].serve()
        return process

    def gate(self) -> threading.Event:
        """Return an event that the end of the test sets, so that no thread outlives it."""
        self.gates.append(threading.Event())
        return self.gates[-1]

    def enqueue(self, task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        with self.app.app_context():
            return task.enqueue(*args, **kwargs)

    def run(self, task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Return the job once it is finished."""
        return self.enqueue(task, *args, **kwargs).wait(timeout=PATIENCE)

    def work(self) -> int:
        """In manual mode: run what is runnable now, on this thread; return how many runs."""
        runs = 0
        while self.process.worker.run() is Ran.RAN:
            runs += 1
        self.process.worker.close_loops()
        return runs


def until(condition: Callable[[], object]) -> None:
    """Wait for *condition*, which no event tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.002)
