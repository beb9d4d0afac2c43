"""Everything at once, and at random: CHAOS_SEED=... repeats what a run did."""

from __future__ import annotations

import os
import random
import time

import pytest

from .chaos import THREADS, Chaos
from .report import FIGURES
from .scene import Scene
from .soak import pick

pytestmark = pytest.mark.live

SECONDS = pick(20.0, 1800.0)
ROUNDS = pick(5, 100)


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))
    print(f"CHAOS_SEED={seed}")
    return seed


def test_chaos(scene: Scene, seed: int) -> None:
    """Nothing is lost, nothing ends twice, and only what was broken ran again."""
    chaos = Chaos(scene, random.Random(seed))
    chaos.run(SECONDS)
    began = time.monotonic()
    scene.wait_until_done(pick(60.0, 600.0))
    verdict = scene.judge()
    FIGURES["chaos"] = {
        "seed": seed,
        "seconds": SECONDS,
        "faults": sum(chaos.did.values()),
        **dict(sorted(chaos.did.items())),
        **verdict.figures,
        "duplicates allowed": chaos.duplicates,
        "seconds to drain": round(time.monotonic() - began, 1),
    }
    verdict.assert_held(duplicates=chaos.duplicates)
    assert verdict.started > SECONDS


def test_a16_all_processes_killed_at_once(scene: Scene, seed: int) -> None:
    """Again and again: whoever comes next goes on with what they left."""
    chance = random.Random(seed)
    threads = 0
    for _ in range(ROUNDS):
        web = scene.web(threads=THREADS)
        programs = [scene.start("worker", threads=THREADS), web]
        programs += [scene.producer(1_000_000, 0.01, pause=0.002) for _ in range(2)]
        scene.events.wait_for("end", count=len(scene.events.find("end")) + 50)
        time.sleep(chance.uniform(0.0, 0.3))
        for program in programs:
            program.kill()
        threads += THREADS * 3
    scene.worker()
    scene.wait_until_done()
    verdict = scene.judge()
    FIGURES["all killed at once"] = {"seed": seed, "rounds": ROUNDS, **verdict.figures}
    verdict.assert_held(duplicates=threads)
