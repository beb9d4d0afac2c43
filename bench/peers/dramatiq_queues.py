"""Dramatiq on Redis and on RabbitMQ: what its command starts in each worker process."""

from __future__ import annotations

import signal

import dramatiq
from dramatiq import Broker, Worker

from bench.durable.place import Place
from bench.durable.queue import Queue, noop


class _Queue(Queue):
    def __init__(self, place: Place) -> None:
        self._broker = self._make(place)
        self.submit = dramatiq.actor(noop, broker=self._broker, queue_name=place.name).send

    def _make(self, place: Place) -> Broker:
        raise NotImplementedError

    def work(self, threads: int) -> None:
        Worker(self._broker, worker_threads=threads).start()
        signal.pause()


class OnRedis(_Queue):
    def _make(self, place: Place) -> Broker:
        from dramatiq.brokers.redis import RedisBroker

        return RedisBroker(url=place.redis)


class OnRabbit(_Queue):
    def _make(self, place: Place) -> Broker:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=place.rabbit)
