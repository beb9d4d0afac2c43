"""Flask-Later with a worker process of its own, or embedded, on whatever keeps its jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from flask import Flask

from bench.durable.place import Place
from bench.durable.queue import Queue, noop, open_queue, payload
from flask_later import Later

#: Jobs in one commit where many are stored at once.
_BATCH = 1_000


class OursQueue(Queue):
    #: Its key in QUEUES.
    name: str
    #: The queue of its jobs.
    queue = "default"
    #: Of a worker; the threads are divided among them.
    processes = 1

    def __init__(self, place: Place) -> None:
        self._folder = str(place.folder)
        self.app = app = Flask("bench", instance_path=str(place.folder))
        app.config.update(
            LATER_EMBEDDED=self.embedded,
            LATER_MANUAL=False,
            LATER_MAX_PENDING=10_000_000,
            **self.settings(place),
        )
        self._later = Later(app)
        self._task = self._later.task(noop, queue=self.queue)
        self.submit = self._task.enqueue

    def settings(self, place: Place) -> Mapping[str, object]:
        """Return what else the app's config says."""
        raise NotImplementedError

    def serve(self, threads: int) -> None:
        self.app.config["LATER_THREADS"] = threads
        self._later.start(self.app)

    def context(self) -> AbstractContextManager[object]:
        return self.app.app_context()

    def fill(self, jobs: int) -> None:
        for start in range(0, jobs, _BATCH):
            calls = [self._task.call(payload()) for _ in range(start, min(jobs, start + _BATCH))]
            self._later.enqueue_many(calls)

    def work(self, threads: int) -> None:
        # Becomes the command that a user starts.
        app = f"{__name__}:make_app({self.name!r}, {self._folder!r})"
        size = ["--processes", str(self.processes), "--threads", str(threads // self.processes)]
        worker = ["-m", "flask", "--app", app, "later", "worker", *size]
        os.execv(sys.executable, [sys.executable, *worker])


def make_app(name: str, folder: str) -> Flask:
    """Return the app of the queue called *name*: what the worker loads."""
    queue = open_queue(name, Place(Path(folder)))
    assert isinstance(queue, OursQueue)
    return queue.app
