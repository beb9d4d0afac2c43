"""From raw figures to tables: medians, ratios, and whether a goal was reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from .suite import Goal, Suite

#: (figure, peer) -> what each run measured, by the number of the run.
Raw = Mapping[tuple[str, str], Mapping[int, float]]


def markdown(suite: Suite, raw: Raw, about: Mapping[str, Any]) -> str:
    """Return the whole report."""
    parts = [
        "\n".join(f"* {name}: {value}" for name, value in about.items()),
        _goals(suite, raw),
        *(_medians(suite, raw, titles) for titles in suite.figures),
    ]
    return "\n\n".join(part for part in parts if part)


def _goals(suite: Suite, raw: Raw) -> str:
    """Return a row for each goal that these figures can answer."""
    rows = [
        [goal.text, *_verdict(goal, found), *_floor(suite, raw, goal)]
        for goal in suite.goals
        if (found := compare(raw, goal))
    ]
    head = ["goal", "wanted", "ours", "range", ""]
    return table([*head, suite.floor] if suite.floor else head, rows) if rows else ""


def compare(raw: Raw, goal: Goal, ours: str | None = None) -> list[float]:
    """Compare run by run, so that both sides have seen the same noise."""
    mine = raw.get((goal.figure, ours or goal.ours), {})
    if goal.of is None:
        return [*mine.values()]
    theirs = raw.get(goal.of, {})
    return [goal.compare(mine[run], theirs[run]) for run in mine if run in theirs]


def _verdict(goal: Goal, found: Sequence[float]) -> list[str]:
    middle = median(found)
    reached = middle >= goal.limit if goal.at_least else middle <= goal.limit
    return [
        f"{'>=' if goal.at_least else '<='} {_exact(goal.limit)}",
        _exact(middle),
        f"{_exact(min(found))} - {_exact(max(found))}",
        "reached" if reached else "NOT reached",
    ]


def _floor(suite: Suite, raw: Raw, goal: Goal) -> list[str]:
    if suite.floor is None:
        return []
    found = compare(raw, goal, suite.floor)
    return [_exact(median(found)) if found else ""]


def _exact(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _medians(suite: Suite, raw: Raw, titles: Mapping[str, str]) -> str:
    """Return a row for each figure and a column for each peer, or the other way round."""
    figures = [name for name in titles if any(figure == name for figure, _ in raw)]
    peers = [name for name in suite.peers if any((figure, name) in raw for figure in figures)]
    if not figures:
        return ""
    lines = [["median", *(suite.peers[peer] for peer in peers)]]
    lines += [
        [titles[figure], *(number(raw.get((figure, peer))) for peer in peers)] for figure in figures
    ]
    if suite.peers_down:
        lines = [[*line] for line in zip(*lines, strict=True)]
    return table(lines[0], lines[1:])


def number(runs: Mapping[int, float] | None) -> str:
    """Return the median of all runs, as precise as a reader needs it."""
    if not runs:
        return ""
    value = median(runs.values())
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.3f}"


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
