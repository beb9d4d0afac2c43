"""From raw figures to tables: medians, ratios, and whether a goal was reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import sub, truediv
from statistics import median
from typing import Any, NamedTuple

#: (figure, peer) -> what each run measured, by the number of the run.
Raw = Mapping[tuple[str, str], Mapping[int, float]]


class Goal(NamedTuple):
    """What ours is compared with: *figure* of *peer*, or *other* figure of ours."""

    text: str
    figure: str
    peer: str
    limit: float
    at_least: bool = False
    other: str | None = None


GOALS = [
    Goal("enqueue p50 / TPE's submit", "enqueue_p50", "tpe", 3.0),
    Goal("enqueue p50 / Flask-Executor's", "enqueue_p50", "flask_executor", 1 / 3),
    Goal("enqueue mean / TPE's", "enqueue_mean", "tpe", 1.0),
    Goal("jobs per second / TPE", "jobs_per_second", "tpe", 0.7, at_least=True),
    Goal("jobs per second / Flask-Executor", "jobs_per_second", "flask_executor", 5.0, True),
    Goal("pickup p50 / TPE's", "pickup_p50", "tpe", 1.0),
    Goal("memory of queued jobs / TPE's", "memory", "tpe", 0.4),
    Goal("request that uses nothing, more us", "web_nothing", "ours", 3.0, other="web_bare"),
    Goal("request with a callback, more us", "web_callback", "ours", 10.0, other="web_bare"),
]

FIGURES = {
    "enqueue_p50": "enqueue p50, us",
    "enqueue_p99": "enqueue p99, us",
    "enqueue_mean": "enqueue mean, us",
    "jobs_per_second": "no-op jobs per second",
    "cpu_per_job": "CPU per job, us",
    "pickup_p50": "pickup p50, us",
    "pickup_p99": "pickup p99, us",
    "idle_enqueue_p50": "the call in it, p50, us",
    "idle_switches": "thread switches in it",
    "memory": "MB per 100,000 queued",
    "web_bare": "bare Flask request, us",
    "web_nothing": "with ours, unused, us",
    "web_callback": "leaving a callback, us",
    "web_enqueue": "enqueueing a job, us",
}

PEERS = {
    "ours": "ours",
    "ours_in_request": "ours, in a request",
    "tpe": "TPE",
    "flask_executor": "Flask-Executor",
    "huey": "Huey",
    "floor": "(floor)",
}


def goals(raw: Raw) -> list[list[str]]:
    """Return a row for each goal that these figures can answer."""
    return [
        [goal.text, *_verdict(goal, found), _middle(_compare(raw, goal, "floor"))]
        for goal in GOALS
        if (found := _compare(raw, goal, "ours"))
    ]


def _compare(raw: Raw, goal: Goal, peer: str) -> list[float]:
    """Compare run by run, so that both sides have seen the same noise."""
    ours = raw.get((goal.figure, peer), {})
    theirs = raw.get((goal.other or goal.figure, goal.peer), {})
    compare = sub if goal.other else truediv
    return [compare(ours[run], theirs[run]) for run in ours if run in theirs]


def _verdict(goal: Goal, found: Sequence[float]) -> list[str]:
    middle = median(found)
    reached = middle >= goal.limit if goal.at_least else middle <= goal.limit
    return [
        f"{'>=' if goal.at_least else '<='} {goal.limit:.2f}",
        f"{middle:.2f}",
        f"{min(found):.2f} - {max(found):.2f}",
        "reached" if reached else "NOT reached",
    ]


def _middle(found: Sequence[float]) -> str:
    return f"{median(found):.2f}" if found else ""


def medians(raw: Raw) -> list[list[str]]:
    """Return a row for each figure, with a column for each peer."""
    return [
        [title, *(_number(raw.get((figure, peer))) for peer in PEERS)]
        for figure, title in FIGURES.items()
        if any(measured == figure for measured, _ in raw)
    ]


def _number(runs: Mapping[int, float] | None) -> str:
    if not runs:
        return ""
    value = median(runs.values())
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def markdown(raw: Raw, about: Mapping[str, Any]) -> str:
    """Return the whole report."""
    return "\n\n".join(
        [
            "\n".join(f"* {name}: {value}" for name, value in about.items()),
            table(["goal", "wanted", "ours", "range", "", "floor"], goals(raw)),
            table(["median", *PEERS.values()], medians(raw)),
        ]
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that reads well as text and as Markdown."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "| " + " | ".join(_cell(i, cell, widths[i]) for i, cell in enumerate(line)) + " |"
        for line in lines
    ]
    rule = (
        "| " + " | ".join("-" * (w - (i > 0)) + ":" * (i > 0) for i, w in enumerate(widths)) + " |"
    )
    return "\n".join([text[0], rule, *text[1:]])


def _cell(column: int, text: str, width: int) -> str:
    return text.rjust(width) if column else text.ljust(width)
