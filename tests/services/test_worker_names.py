"""The names that workers have at their broker, by which people tell them apart."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.brokers import Redis

from flask_later.core.clock import SystemClock
from flask_later.core.engine import Ran, ServeOptions, never
from flask_later.engines.brokered import BrokeredEngine
from flask_later.engines.celery import CeleryEngine
from flask_later.engines.rq import RQEngine
from flask_later.stores.memory import MemoryStore

pytestmark = pytest.mark.services

PATIENCE = 60.0


@pytest.fixture(params=[CeleryEngine, RQEngine])
def pair(request: pytest.FixtureRequest, redis: Redis) -> Iterator[list[BrokeredEngine]]:
    """Two that work for one store under one process number, as in two containers."""
    store, url = MemoryStore(SystemClock()), redis.new_url()
    with ExitStack() as stack:
        store.open()
        stack.callback(store.close)
        engines: list[BrokeredEngine] = [request.param(url) for _ in range(2)]
        for engine in engines:
            engine.bind(lambda hint=None, more=never, patience=0.0: Ran.EMPTY, store)
            engine.serve(ServeOptions(1, None))
            stack.callback(engine.close, PATIENCE)
        yield engines


def test_two_workers_never_have_one_name(pair: list[BrokeredEngine]) -> None:
    """And each says on which host it is, and in which process."""
    deadline = time.monotonic() + PATIENCE
    while len(names := [*pair[0].workers()]) < 2:
        assert time.monotonic() < deadline, names
        time.sleep(0.05)
    for name in names:
        assert name.endswith(f"@{socket.gethostname()}")
        assert f"-{os.getpid()}-" in name
