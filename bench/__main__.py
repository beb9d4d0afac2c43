"""``python -m bench``: every figure of every peer of all suites. See README.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import machine, report, results, runner
from .async_routes.suite import ASYNC_ROUTES
from .durable.suite import DURABLE
from .engines.suite import ENGINES
from .memory import MEMORY
from .suite import Step, Suite

SUITES = (MEMORY, DURABLE, ENGINES, ASYNC_ROUTES)
#: Where functions can be watched: a peer that works in the process that calls it.
_PROFILED = ("ours", "ours_in_request", "ours_power", "ours_process")


def main() -> int:
    options = _options()
    wanted = {*options.only}
    if options.profile:
        for peer in _PROFILED:
            if not wanted or peer in wanted:
                subprocess.run(runner.command("memory", "profile", peer, 1.0), check=True)
        return 0
    for suite in SUITES:
        plan = [
            step
            for step in suite.plan
            if _is_wanted(step, wanted) and not (options.quick and step.long)
        ]
        if plan:
            _run(suite, plan, options)
    return 0


def _run(suite: Suite, plan: Sequence[Step], options: argparse.Namespace) -> None:
    runs = options.runs or (suite.quick_runs if options.quick else suite.runs)
    about = machine.describe(suite, f"{runs}{', a quarter of the work' if options.quick else ''}")
    with suite.prepare(plan) as conditions:
        for line in conditions.skipped:
            print(f"bench: {line}", file=sys.stderr)
        raw, failed = runner.measure(conditions, runs, 0.25 if options.quick else 1.0)
    about["load after"] = machine.load()
    if failed:
        about["failed"] = ", ".join(failed)
    if options.remark:
        about["remark"] = options.remark
    text = report.markdown(suite, raw, about)
    print(text)
    if options.json:
        results.write(options.json, raw, about)
    if len(plan) == len(suite.plan) and not options.quick:
        results.publish(suite, text, raw, about)


def _is_wanted(step: Step, wanted: set[str]) -> bool:
    """Whether each kind of name that was asked for has that of the step among it."""
    suites = {suite.name for suite in SUITES}
    kinds = [
        (suites, step.suite),
        # "memory" is a suite and one of its figures: the whole suite is meant.
        ({each.measure for suite in SUITES for each in suite.plan} - suites, step.measure),
        ({each.peer for suite in SUITES for each in suite.plan}, step.peer),
    ]
    return all(not wanted & names or name in wanted for names, name in kinds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ours against its peers.")
    names = sorted({name for suite in SUITES for step in suite.plan for name in step[:3]})
    parser.add_argument("--runs", type=int, help="rounds over all peers (5)")
    parser.add_argument("--quick", action="store_true", help="few runs of a quarter of the work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=names,
        metavar="NAME",
        help=f"a suite, a figure, a peer, or some of each: {', '.join(names)}",
    )
    parser.add_argument("--remark", metavar="TEXT", help="what a reader of the tables has to know")
    parser.add_argument("--profile", action="store_true", help="print the hot functions instead")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
