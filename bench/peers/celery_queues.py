"""Celery on Redis and on RabbitMQ, on a pool of threads, without results and with them."""

from __future__ import annotations

from celery import Celery

from bench.durable.place import Place
from bench.durable.queue import Queue, noop


class _Queue(Queue):
    keeps_results = False

    def __init__(self, place: Place) -> None:
        self._app = Celery("bench", broker=self._broker(place))
        self._app.conf.update(
            task_default_queue=place.name,
            task_ignore_result=not self.keeps_results,
            broker_connection_retry_on_startup=True,
        )
        if self.keeps_results:
            self._app.conf.result_backend = place.redis
        self.submit = self._app.task(noop, name="noop").delay

    def _broker(self, place: Place) -> str:
        raise NotImplementedError

    def work(self, threads: int) -> None:
        options = [f"--concurrency={threads}", "--pool=threads", "--loglevel=WARNING"]
        # Without the search for other workers, which would only make its start slower.
        self._app.worker_main(["worker", *options, "--without-gossip", "--without-mingle"])


class OnRedis(_Queue):
    def _broker(self, place: Place) -> str:
        return place.redis


class OnRabbit(_Queue):
    def _broker(self, place: Place) -> str:
        return place.rabbit


class OnRedisWithResults(OnRedis):
    keeps_results = True


class OnRabbitWithResults(OnRabbit):
    keeps_results = True
