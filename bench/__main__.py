"""``python -m bench``: every figure of every peer, run by run, in processes of their own."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from . import report
from .figures import THREADS, Figures
from .measure import PLAN

README = Path(__file__).parent / "README.md"
RESULTS = README.parent / "results"
PACKAGES = ("Flask-Later", "Flask", "Werkzeug", "Flask-Executor", "huey")
#: Seconds for one measurement.
_DEADLINE = 180


def main() -> int:
    options = _options()
    plan = [(m, p) for m, p in PLAN if not options.only or {m, p} & {*options.only}]
    if options.profile:
        for peer in dict.fromkeys(peer for _, peer in plan):
            subprocess.run([*_CHILD, "profile", peer, "1"], check=True)
        return 0
    raw = measure(plan, options.runs, 0.25 if options.quick else 1.0)
    about = _about(options)
    text = report.markdown(raw, about)
    print(text)
    if options.json:
        _write(options.json, raw, about)
    if not options.only and not options.quick:
        _publish(text)
        _write(RESULTS / "latest.json", raw, about)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ours against its peers.")
    names = sorted({name for pair in PLAN for name in pair})
    parser.add_argument("--runs", type=int, help="rounds over all peers (5)")
    parser.add_argument("--quick", action="store_true", help="two runs of a quarter of the work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--profile", action="store_true", help="print the hot functions instead")
    options = parser.parse_args()
    options.runs = options.runs or (2 if options.quick else 5)
    return options


def measure(plan: list[tuple[str, str]], runs: int, scale: float) -> report.Raw:
    """Let the peers take turns within each figure, so that noise hits all alike."""
    raw: defaultdict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    began = time.monotonic()
    for run in range(runs):
        for name, peer in plan:
            _say(f"{time.monotonic() - began:4.0f} s  run {run + 1} of {runs}: {name}, {peer}")
            for figure, value in _child(name, peer, scale).items():
                raw[figure, peer][run] = value
    _say("")
    return dict(raw)


_CHILD = (sys.executable, "-m", "bench.measure")


def _child(name: str, peer: str, scale: float) -> Figures:
    done = subprocess.run(
        [*_CHILD, name, peer, str(scale)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=_DEADLINE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if done.returncode:
        sys.exit(f"bench: {name} of {peer} failed, see above")
    figures: Figures = json.loads(done.stdout)
    return figures


def _about(options: argparse.Namespace) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "runs": f"{options.runs}{', a quarter of the work' if options.quick else ''}",
        "threads": str(THREADS),
        "machine": f"{os.cpu_count()} cores, {_cpu()}, {platform.system()} {platform.release()}",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


def _publish(text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text(text + "\n")
    before, mark, rest = README.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end -->")
    README.write_text(f"{before}{mark}\n{text}\n\n{end}{after}")


def _write(path: Path, raw: report.Raw, about: dict[str, str]) -> None:
    figures: defaultdict[str, dict[str, list[float]]] = defaultdict(dict)
    for (figure, peer), runs in raw.items():
        figures[figure][peer] = [*runs.values()]
    path.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:70}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
