"""The benchmark measures: what it says of a machine is for people, that it runs is for us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="the workers of the benchmark are Unix'")
def test_durable_figures_are_measured(tmp_path: Path) -> None:
    """A worker process of ours runs the jobs of a live producer, and all of them are counted."""
    only = ("durable", "throughput", "pickup", "ours_power", "ours_process_embedded")
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "--quick", "--json", figures),
            *(word for name in only for word in ("--only", name)),
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(figures.read_text())["figures"]
    for figure in ("jobs_per_second", "pickup_p50"):
        assert measured[figure].keys() == {"ours_power", "ours_process_embedded"}, done.stderr
        assert all(value > 0 for values in measured[figure].values() for value in values)
