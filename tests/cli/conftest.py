"""An app on a SQLite file where nothing runs by itself, and its commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_later import Later, current_job
from flask_later.core.clock import VirtualClock
from flask_later.core.store import Store, WorkerRecord
from flask_later.tasks.state import AppState

Run = Callable[..., Result]
Read = Callable[..., Any]


class Shop:
    """The app, its tasks, and what the tests do to it."""

    def __init__(self, folder: Path) -> None:
        self.later = Later()
        self.app = Flask("shop", instance_path=str(folder))
        self.app.config.update(LATER_MANUAL=True, LATER_QUEUES=["default", "mail"])

        @self.later.task(name="add")
        def add(a: int, b: int) -> int:
            current_job.log("adding")
            return a + b

        @self.later.task(name="fail", queue="mail")
        def fail(secret: str) -> None:
            raise ValueError("oops")

        self.add, self.fail = add, fail
        self.later.init_app(self.app)

    @property
    def state(self) -> AppState:
        state: AppState = self.app.extensions["later"]
        return state

    @property
    def store(self) -> Store:
        return self.state.store

    @property
    def clock(self) -> VirtualClock:
        clock = self.state.clock
        assert isinstance(clock, VirtualClock)
        return clock

    def enqueue(self, task: Any, *arguments: Any) -> str:
        with self.app.app_context():
            job_id: str = task.enqueue(*arguments).id
            return job_id

    def state_of(self, job_id: str) -> str:
        return self.store.get([job_id])[job_id].state.value

    def hire(self, *queues: str) -> str:
        """Register a worker that takes from *queues*, or from all."""
        record = WorkerRecord("a" * 32, "here", 4711, self.clock.now(), queues or None, 4)
        self.store.register(record)
        return record.id


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.state.parts.store.close()


@pytest.fixture
def run(shop: Shop) -> Run:
    """Type ``flask later ...``; the exit code is checked."""

    def run(*arguments: str, code: int = 0, typed: str | None = None) -> Result:
        result = shop.app.test_cli_runner().invoke(args=["later", *arguments], input=typed)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def read(run: Run) -> Read:
    """Type ``flask later ... --json`` and return what it says."""
    return lambda *arguments, code=0: json.loads(run(*arguments, "--json", code=code).stdout)
