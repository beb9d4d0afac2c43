"""Workers, brokers and databases killed at random: CHAOS_SEED=... repeats what a run did."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests import databases
from tests.brokers import running_rabbitmq, running_redis

from .broker_scene import BrokerChaos, BrokerScene
from .report import FIGURES
from .soak import pick

pytestmark = [pytest.mark.live, pytest.mark.services, pytest.mark.timeout(pick(400, 0))]

SECONDS = pick(25.0, 900.0)
BROKERS = {"redis": running_redis, "rabbitmq": running_rabbitmq}
ENGINES = {
    "native": ("native", ""),
    "celery-redis": ("celery", "redis"),
    "celery-rabbitmq": ("celery", "rabbitmq"),
    "rq": ("rq", "redis"),
}


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))
    print(f"CHAOS_SEED={seed}")
    return seed


@pytest.fixture(params=ENGINES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerScene]:
    engine, kind = ENGINES[request.param]
    with ExitStack() as stack:
        server = stack.enter_context(closing(databases.start("postgresql")))
        broker = stack.enter_context(BROKERS[kind](tmp_path / "broker")) if kind else None
        scene = BrokerScene(tmp_path, stack, server=server, broker=broker, engine=engine)
        scene.prepare()
        yield scene


def test_chaos(scene: BrokerScene, seed: int, request: pytest.FixtureRequest) -> None:
    """Nothing is lost, nothing ends twice, and only what was broken ran again.

    Every hint comes three times; workers and producers, the broker and the database are killed, the
    broker is emptied.
    """
    chaos = BrokerChaos(scene, random.Random(seed))
    scene.events.wait_for("end", timeout=60.0)
    chaos.run(SECONDS)
    began = time.monotonic()
    scene.wait_until_done()
    verdict = scene.judge()
    FIGURES[f"chaos, {request.node.callspec.id}"] = {
        "seed": seed,
        "seconds": SECONDS,
        "faults": sum(chaos.did.values()),
        **dict(sorted(chaos.did.items())),
        **verdict.figures,
        "duplicates allowed": chaos.duplicates,
        "seconds to drain": round(time.monotonic() - began, 1),
    }
    verdict.assert_held(duplicates=chaos.duplicates)
