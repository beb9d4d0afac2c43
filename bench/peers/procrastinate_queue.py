"""Procrastinate on PostgreSQL: its worker, with a task that is a plain function."""

from __future__ import annotations

from typing import Any

from procrastinate import App, PsycopgConnector

from bench.durable.place import Place
from bench.durable.queue import Queue, noop
from bench.peers import Payload


class OnPostgres(Queue):
    def __init__(self, place: Place) -> None:
        self._app = App(connector=PsycopgConnector(conninfo=place.postgres))
        self._task: Any = self._app.task(noop, name="noop")
        self._app.open()
        if not self._app.check_connection():
            self._app.schema_manager.apply_schema()

    def submit(self, payload: Payload) -> object:  # type: ignore[override]
        return self._task.defer(payload=payload)

    def work(self, threads: int) -> None:
        self._app.run_worker(concurrency=threads)
