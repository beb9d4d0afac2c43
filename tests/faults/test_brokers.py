"""Workers, brokers and databases killed at random: CHAOS_SEED=... repeats what a run did."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import pytest
from tests import databases
from tests.brokers import running_rabbitmq, running_redis

from .broker_chaos import BrokerChaos
from .broker_scene import BrokerScene
from .report import FIGURES
from .soak import SOAKING, pick

pytestmark = [pytest.mark.live, pytest.mark.services, pytest.mark.timeout(pick(600, 0))]

BROKERS = {"redis": running_redis, "rabbitmq": running_rabbitmq}


class Place(NamedTuple):
    engine: str
    broker: str = ""
    database: str = "postgresql"
    seconds: float = pick(15.0, 900.0)


PLACES = {
    "native": Place("native"),
    "celery-redis": Place("celery", "redis"),
    "celery-rabbitmq": Place("celery", "rabbitmq"),
    "rq": Place("rq", "redis"),
    "native-mariadb": Place("native", database="mariadb"),
    "celery-redis-mariadb": Place("celery", "redis", "mariadb"),
}
if SOAKING:
    PLACES["celery-rabbitmq-mariadb"] = Place("celery", "rabbitmq", "mariadb")
    PLACES["rq-mariadb"] = Place("rq", "redis", "mariadb")

FAULTS = {
    "kill_worker",
    "kill_child",
    "kill_producer",
    "stop_worker",
    "restart_database",
    "double_hints",
}
BROKER_FAULTS = {"kill_broker", "flush_broker"}


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))
    print(f"CHAOS_SEED={seed}")
    return seed


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param]


@pytest.fixture
def scene(place: Place, tmp_path: Path) -> Iterator[BrokerScene]:
    with ExitStack() as stack:
        server = stack.enter_context(closing(databases.start(place.database)))
        broker = None
        if place.broker:
            broker = stack.enter_context(BROKERS[place.broker](tmp_path / "broker"))
        scene = BrokerScene(tmp_path, stack, server=server, broker=broker, engine=place.engine)
        scene.prepare()
        yield scene


def test_chaos(scene: BrokerScene, place: Place, seed: int, request: pytest.FixtureRequest) -> None:
    """Nothing is lost, nothing ends twice, and only what was broken ran again.

    Workers and producers, the broker and the database are killed, hints come again and again, the
    broker is emptied: each of it, in rounds of a random order.
    """
    chaos = BrokerChaos(scene, random.Random(seed))
    scene.events.wait_for("end", timeout=120.0)
    began = time.monotonic()
    chaos.run(float(os.environ.get("CHAOS_SECONDS") or place.seconds))
    ended = time.monotonic()
    if not SOAKING:
        scene.let_leases_run_out()
    scene.wait_until_done()
    verdict = scene.judge()
    FIGURES[f"chaos, {request.node.callspec.id}"] = {
        "seed": seed,
        "seconds": round(ended - began),
        "faults": sum(chaos.did.values()),
        **dict(sorted(chaos.did.items())),
        "hints doubled": chaos.doubled,
        "hints forgotten": chaos.forgotten,
        "workers ended": chaos.ended,
        **verdict.figures,
        "duplicates allowed": chaos.duplicates,
        "seconds to drain": round(time.monotonic() - ended, 1),
    }
    assert {*chaos.did} == FAULTS | (BROKER_FAULTS if place.broker else set())
    verdict.assert_held(duplicates=chaos.duplicates)
