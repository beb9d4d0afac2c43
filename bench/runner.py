"""Runs a suite: every measurement in a process of its own, the peers in turn, run by run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from .figures import Figures
from .report import Raw
from .suite import Conditions, Step

#: Seconds for one measurement.
_DEADLINE = 600
#: Seconds between the jobs of peers that were idle at the same time.
_APART = 0.25


def measure(conditions: Conditions, runs: int, scale: float) -> tuple[Raw, list[str]]:
    """Let the peers take turns within each figure, so that noise hits all alike.

    Returns what was measured, and a line for each measurement that failed.
    """
    raw: defaultdict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    failed: list[str] = []
    began = time.monotonic()
    for run in range(runs):
        for steps in _groups(conditions.plan, run):
            first = steps[0]
            who = "everybody" if first.together else first.peer
            _say(
                f"{time.monotonic() - began:4.0f} s  run {run + 1} of {runs}: {first.suite}, "
                f"{first.measure}, {who}"
            )
            for step, figures in zip(steps, _figures(conditions, steps, scale), strict=True):
                if not figures:
                    failed.append(f"{step.measure} of {step.peer} in run {run + 1}")
                for figure, value in figures.items():
                    raw[figure, step.peer][run] = value
    _say("")
    return dict(raw), failed


def _groups(plan: Sequence[Step], run: int) -> Iterator[list[Step]]:
    """Return the steps one by one, but those together that are to run so."""
    wanted = [step for step in plan if run < step.runs]
    for (_, together), steps in groupby(wanted, lambda step: (step.measure, step.together)):
        if together:
            yield [*steps]
        else:
            yield from ([step] for step in steps)


def _figures(conditions: Conditions, steps: Sequence[Step], scale: float) -> list[Figures]:
    children = [_start(step, scale, conditions.environment(step)) for step in steps]
    if steps[0].together:
        _align(children)
    return [_finish(step, child) for step, child in zip(steps, children, strict=True)]


def _align(children: Sequence[subprocess.Popen[str]]) -> None:
    """Once all are ready, tell each how long after the first it is to go on."""
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    for place, child in enumerate(children):
        assert child.stdin is not None
        child.stdin.write(f"{place * _APART}\n")
        child.stdin.flush()


def _start(step: Step, scale: float, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(step.suite, step.measure, step.peer, scale),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment, "PYTHONHASHSEED": "0"},
    )


def command(suite: str, measure: str, peer: str, scale: float) -> list[str]:
    return [sys.executable, "-m", "bench.measure", suite, measure, peer, str(scale)]


def _finish(step: Step, child: subprocess.Popen[str]) -> Figures:
    """Return what *child* says; nothing if it failed, since the others can still be measured."""
    try:
        output, _ = child.communicate(timeout=_DEADLINE)
    except subprocess.TimeoutExpired:
        child.terminate()
        output, _ = child.communicate()
    if child.returncode:
        print(f"bench: {step.measure} of {step.peer} failed", file=sys.stderr)
        return {}
    figures: Figures = json.loads(output)
    return figures


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:78}", end="", file=sys.stderr, flush=True)
