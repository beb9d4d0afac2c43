"""The benchmark measures: what it says of a machine is for people, that it runs is for us."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tests import databases

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform == "win32", reason="the servers of the benchmark are Unix'"),
]

CHECKOUT = Path(__file__).parents[2]

#: Figure -> peer -> what each run measured.
Figures = Mapping[str, Mapping[str, Sequence[float]]]
Measure = Callable[..., Figures]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    def measure(*only: str) -> Figures:
        figures = tmp_path / "figures.json"
        command = [*(sys.executable, "-m", "bench", "--quick", "--runs", "1", "--json", figures)]
        done = subprocess.run(
            [*command, *(word for name in only for word in ("--only", name))],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: Figures = json.loads(figures.read_text())["figures"]
        assert all(
            value > 0 for peers in found.values() for runs in peers.values() for value in runs
        )
        return found

    return measure


def test_durable_figures_are_measured(measure: Measure) -> None:
    """A worker process of ours runs the jobs of a live producer, and all of them are counted."""
    figures = measure("durable", "throughput", "pickup", "ours_power", "ours_process_embedded")
    for figure in ("jobs_per_second", "pickup_p50"):
        assert figures[figure].keys() == {"ours_power", "ours_process_embedded"}


@pytest.mark.services
def test_engines_are_measured(measure: Measure) -> None:
    """On servers of their own, ours beside the bare engine."""
    if not databases.PostgreSQL.is_installed() or shutil.which("redis-server") is None:
        pytest.skip("postgresql or redis-server is not installed: make services")
    peers = ("ours_native_postgres", "ours_rq_redis", "bare_rq_redis")
    figures = measure("engines", "throughput", *peers)
    assert figures["jobs_per_second"].keys() == {*peers}


def test_requests_to_async_routes_are_measured(measure: Measure) -> None:
    """Each kind gets the answer that it is to get, called directly and from gunicorn."""
    figures = measure("async_routes", "requests")
    for figure in ("async", "thread", "poll_unchanged"):
        assert figures[figure].keys() == {"wsgi", "gunicorn"}
