"""Name -> measurement: what a plan can name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.figures import Figures

from . import figures
from .growth import growth

Measure = Callable[[str, float], Figures]

#: Of a backlog of 100,000 and of one of 1,000,000 the same number of jobs is counted.
_COUNTED = 50_000


def _drain(label: str, jobs: int, name: str, _scale: float) -> Figures:
    speed = figures.drain(name, jobs, min(jobs, _COUNTED))
    return {f"drained_{label}_per_second": speed}


def _slow(measure: Measure, name: str, scale: float) -> Figures:
    return {f"slow_{figure}": value for figure, value in measure(name, scale / 4).items()}


MEASURES: dict[str, Measure] = {
    "throughput": figures.throughput,
    "enqueue": figures.enqueue,
    "crowd": figures.crowd,
    "pickup": figures.pickup,
    "idle": figures.idle,
    "drain_10k": partial(_drain, "10k", 10_000),
    "drain_100k": partial(_drain, "100k", 100_000),
    "drain_1m": partial(_drain, "1m", 1_000_000),
    "syncs": figures.syncs_per_job,
    "slow_throughput": partial(_slow, figures.throughput),
    "slow_crowd": partial(_slow, figures.crowd),
    "growth": growth,
}
