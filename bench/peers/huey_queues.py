"""Huey on SQLite, with its default settings and without fsync, and on Redis."""

from __future__ import annotations

import logging

from huey import Huey, RedisHuey, SqliteHuey

from bench.durable.place import Place
from bench.durable.queue import Queue, noop


class _Queue(Queue):
    def __init__(self, place: Place) -> None:
        # Its INFO lines would be built for each job, though nobody reads them.
        logging.getLogger("huey").setLevel(logging.WARNING)
        self._huey = self._make(place)
        self.submit = self._huey.task()(noop)

    def _make(self, place: Place) -> Huey:
        raise NotImplementedError

    def work(self, threads: int) -> None:
        self._huey.create_consumer(workers=threads, periodic=False).run()


class OnSQLite(_Queue):
    def _make(self, place: Place) -> Huey:
        return SqliteHuey(place.name, filename=str(place.file))


class OnSQLiteWithoutSync(_Queue):
    def _make(self, place: Place) -> Huey:
        return SqliteHuey(place.name, filename=str(place.file), fsync=False)


class OnRedis(_Queue):
    def _make(self, place: Place) -> Huey:
        return RedisHuey(place.name, url=place.redis)
