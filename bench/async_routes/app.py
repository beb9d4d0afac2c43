"""The app that is measured: one view in all its forms, and the recipe that everyone copies."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

from flask import Flask, abort, request

from bench.figures import THREADS
from flask_later import Later

#: The folder of the database; set for what serves ``app``.
FOLDER = "BENCH_FOLDER"


def make_app(folder: Path, work: threading.Event, *, embedded: bool) -> tuple[Flask, Later]:
    """Return the app and its ``Later``. Work that is begun ends when *work* is set.

    :param embedded: whether operations run in this process; if not, they stay queued.
    """
    app = Flask("bench", instance_path=str(folder))
    app.config.update(
        LATER_STORE="sqlite:///operations.sqlite3",
        LATER_EMBEDDED=embedded,
        LATER_THREADS=THREADS,
        LATER_MANUAL=False,
    )
    later = Later(app)
    _add_views(app, later, work)
    _add_recipe(app, work)
    return app, later


def _add_views(app: Flask, later: Later, work: threading.Event) -> None:
    @later.task
    def report(asked: dict[str, Any]) -> dict[str, Any]:
        work.wait()
        return asked

    @app.get("/empty")
    def empty() -> str:
        return ""

    @app.post("/dict")
    def only_a_dict() -> dict[str, Any]:
        return request.get_json()

    @app.post("/enqueue")
    def dict_and_enqueue() -> dict[str, Any]:
        asked = request.get_json()
        report.enqueue(asked)
        return asked

    @app.post("/async")
    @later.respond_async
    def async_route() -> dict[str, Any]:
        work.wait()
        return request.get_json()


def _add_recipe(app: Flask, work: threading.Event) -> None:
    """Add a thread for each request, and what became of it in a global dictionary."""
    tasks: dict[str, dict[str, Any]] = {}

    def run(task_id: str, asked: dict[str, Any]) -> None:
        work.wait()
        tasks[task_id] = {"status": "succeeded", "result": asked}

    @app.post("/thread")
    def start() -> tuple[dict[str, str], int, dict[str, str]]:
        task_id = uuid4().hex
        tasks[task_id] = {"status": "running"}
        threading.Thread(target=run, args=(task_id, request.get_json()), daemon=True).start()
        return {"id": task_id}, 202, {"Location": f"/tasks/{task_id}"}

    @app.get("/tasks/<task_id>")
    def status(task_id: str) -> dict[str, Any]:
        if task_id not in tasks:
            abort(404)
        return tasks[task_id]


def _served() -> Flask:
    done = threading.Event()
    done.set()
    return make_app(Path(os.environ[FOLDER]), done, embedded=False)[0]


if FOLDER in os.environ:
    app = _served()
