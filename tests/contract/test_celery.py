"""The Celery engine keeps the promises of the port, through real brokers.

Celery's own worker runs here on threads of this process, so that jobs run on the clock of the
tests. Other processes do in ``tests/live``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from kombu import Connection
from tests.brokers import RabbitMQ, Redis
from tests.contract.hanging import ReplacesThreads

from flask_later.core.clock import Clock
from flask_later.core.engine import Engine
from flask_later.core.store import Store
from flask_later.engines.celery import CeleryEngine
from flask_later.stores.memory import MemoryStore
from flask_later.testing import EngineContract

pytestmark = pytest.mark.services


class InThisProcess(CeleryEngine):
    """What its workers share is the memory of this process."""

    requires_reach = "process"


class OnCelery(ReplacesThreads, EngineContract):
    @pytest.fixture
    def make_store(self) -> Callable[[Clock], Store]:
        return MemoryStore


class TestCeleryOnRedis(OnCelery):
    @pytest.fixture
    def make_engine(self, redis: Redis) -> Callable[[], Engine]:
        return lambda: InThisProcess(redis.new_url())


class TestCeleryOnRabbitMQ(OnCelery):
    """All apps share a queue: they refuse each other's hints, and lose no job by that."""

    @pytest.fixture
    def make_engine(self, rabbitmq: RabbitMQ) -> Iterator[Callable[[], Engine]]:
        yield lambda: InThisProcess(rabbitmq.url)
        with Connection(rabbitmq.url) as connection:
            connection.default_channel.queue_purge("default")
