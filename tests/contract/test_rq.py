"""The RQ engine keeps the promises of the port, through a real Redis.

RQ's own workers run here on threads of this process, so that jobs run on the clock of the tests.
Other processes do in ``tests/live``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.brokers import Redis

from flask_later.core.clock import Clock
from flask_later.core.engine import Engine
from flask_later.core.store import Store
from flask_later.engines.rq import RQEngine
from flask_later.stores.memory import MemoryStore
from flask_later.testing import EngineContract

pytestmark = pytest.mark.services


class InThisProcess(RQEngine):
    """What its workers share is the memory of this process."""

    requires_reach = "process"


class TestRQ(EngineContract):
    @pytest.fixture
    def make_store(self) -> Callable[[Clock], Store]:
        return MemoryStore

    @pytest.fixture
    def make_engine(self, redis: Redis) -> Callable[[], Engine]:
        return lambda: InThisProcess(redis.new_url())
