"""RQ on Redis: its pool of two processes, with the worker that does not fork for each job."""

from __future__ import annotations

from functools import partial

import rq
from redis import Redis
from rq.worker_pool import WorkerPool

from bench.durable.place import Place
from bench.durable.queue import Queue, noop


class OnRedis(Queue):
    def __init__(self, place: Place) -> None:
        self._redis = Redis.from_url(place.redis)
        self._queue = rq.Queue(place.name, connection=self._redis)
        self.submit = partial(self._queue.enqueue, noop)

    def work(self, threads: int) -> None:
        WorkerPool([self._queue], self._redis, num_workers=2, worker_class=rq.SimpleWorker).start(
            logging_level="WARNING"
        )
