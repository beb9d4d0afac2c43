"""Bar charts in SVG: readable on light and dark ground, with nothing to install."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from statistics import median
from typing import NamedTuple

from .report import Raw, number
from .suite import Chart, Goal, Suite

_WIDTH, _LEFT, _RIGHT = 760, 190, 90
_TOP, _ROW, _BAR = 68, 30, 18
#: From this ratio of the longest bar to the shortest one the scale is logarithmic.
_MANY_TIMES = 60

_STYLE = """
  svg { color-scheme: light dark; }
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .ground { fill: #ffffff; }
  .title { font-size: 16px; font-weight: 600; }
  .small { font-size: 11px; fill: #57606a; }
  .grid { stroke: #d8dee4; }
  .peer { fill: #9aa4af; }
  .ours { fill: #1f6feb; }
  .range { stroke: #24292f; stroke-width: 1.5; opacity: 0.55; }
  .goal { stroke: #bc4c00; stroke-width: 2.5; }
  .wanted { fill: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .ground { fill: #0d1117; }
    .small { fill: #9198a1; }
    .grid { stroke: #2a313c; }
    .peer { fill: #6e7681; }
    .ours { fill: #4c8dff; }
    .range { stroke: #e6edf3; }
    .goal { stroke: #f0883e; }
    .wanted { fill: #f0883e; }
  }
"""


class _Bar(NamedTuple):
    title: str
    ours: bool
    low: float
    middle: float
    high: float
    text: str
    #: What the goals of this peer ask for, in the unit of the chart.
    wanted: float | None


class _Scale(NamedTuple):
    """From a value to its place, between *least* at the left and *most* at the right."""

    least: float
    most: float
    logarithmic: bool

    def place(self, value: float) -> float:
        width = _WIDTH - _LEFT - _RIGHT
        if self.logarithmic:
            part = log10(max(value, self.least) / self.least) / log10(self.most / self.least)
        else:
            part = value / self.most
        return _LEFT + width * part

    def ticks(self) -> list[float]:
        if self.logarithmic:
            return [10.0**power for power in range(round(log10(self.least)), _power(self.most) + 1)]
        step = 10.0 ** _power(self.most / 6)
        step *= next(factor for factor in (1, 2, 5, 10) if self.most / (step * factor) <= 6)
        return [step * i for i in range(int(self.most / step) + 1)]


def draw(suite: Suite, raw: Raw, about: Mapping[str, str], folder: Path) -> None:
    """Write ``SUITE-CHART.svg`` for each chart of *suite* that has something to show."""
    for chart in suite.charts:
        bars = _bars(suite, chart, raw)
        if bars:
            text = _svg(chart, bars, about)
            (folder / f"{suite.name}-{chart.name}.svg").write_text(text)


def _bars(suite: Suite, chart: Chart, raw: Raw) -> list[_Bar]:
    """Return the bars, the best one first."""
    bars = [
        _Bar(
            title,
            peer.startswith("ours"),
            min(runs.values()),
            median(runs.values()),
            max(runs.values()),
            number(runs),
            _wanted(suite, chart, raw, peer),
        )
        for peer, title in suite.peers.items()
        if (runs := raw.get((chart.figure, peer)))
    ]
    return sorted(bars, key=lambda bar: bar.middle, reverse=chart.more_is_better)


def _wanted(suite: Suite, chart: Chart, raw: Raw, peer: str) -> float | None:
    """Return the hardest of the goals that *peer* has here."""
    values = [
        value
        for goal in suite.goals
        if goal.figure == chart.figure and goal.ours == peer
        if (value := _as_value(goal, raw)) is not None
    ]
    return (max if chart.more_is_better else min)(values, default=None)


def _as_value(goal: Goal, raw: Raw) -> float | None:
    if goal.of is None:
        return goal.limit
    runs = raw.get(goal.of)
    return goal.limit * median(runs.values()) if runs else None


def _svg(chart: Chart, bars: list[_Bar], about: Mapping[str, str]) -> str:
    scale = _scale(bars)
    bottom = _TOP + _ROW * len(bars)
    notes = [*_notes(about)]
    height = bottom + 44 + 15 * len(notes)
    better = "more is better" if chart.more_is_better else "less is better"
    unit = f"{chart.unit}, {better}{', logarithmic scale' if scale.logarithmic else ''}"
    parts = [
        _head(chart.title, height),
        _rectangle("ground", 0, 0, _WIDTH, height),
        _text(16, 28, chart.title, "title"),
        _text(16, 48, f"{unit}; thin lines: all runs", "small"),
        *_legend(bars),
        *_grid(scale, bottom),
        *(line for row, bar in enumerate(bars) for line in _row(scale, _TOP + _ROW * row, bar)),
        *(_text(16, bottom + 46 + 15 * i, note, "small") for i, note in enumerate(notes)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _scale(bars: list[_Bar]) -> _Scale:
    most = max(max(bar.high, bar.wanted or 0.0) for bar in bars)
    least = min(bar.middle for bar in bars)
    if least > 0 and max(bar.middle for bar in bars) / least > _MANY_TIMES:
        return _Scale(10.0 ** _power(least * 0.8), most * 1.02, True)
    return _Scale(0.0, most * 1.02, False)


def _power(value: float) -> int:
    return floor(log10(value))


def _legend(bars: list[_Bar]) -> list[str]:
    if all(bar.wanted is None for bar in bars):
        return []
    x = _WIDTH - 96
    return [_line(x, 18, x, 32, "goal"), _text(x + 8, 29, "what we want", "small wanted")]


def _grid(scale: _Scale, bottom: int) -> list[str]:
    return [
        part
        for tick in scale.ticks()
        for part in (
            _line(scale.place(tick), _TOP - 6, scale.place(tick), bottom, "grid"),
            _text(scale.place(tick), bottom + 16, f"{tick:,.10g}", "small", "middle"),
        )
    ]


def _row(scale: _Scale, y: int, bar: _Bar) -> list[str]:
    middle = y + _BAR / 2
    end = scale.place(bar.middle)
    parts = [
        _text(_LEFT - 8, middle + 4.5, bar.title, "", "end"),
        _rectangle("ours" if bar.ours else "peer", _LEFT, y, max(1.0, end - _LEFT), _BAR),
        _line(scale.place(bar.low), middle, scale.place(bar.high), middle, "range"),
        _text(_after(scale, bar), middle + 4.5, bar.text),
    ]
    if bar.wanted is not None:
        place = scale.place(bar.wanted)
        parts.append(_line(place, y - 4, place, y + _BAR + 4, "goal"))
    return parts


def _after(scale: _Scale, bar: _Bar) -> float:
    """Return where the number stands: behind the bar, and behind a goal that is in its way."""
    place = scale.place(bar.high) + 7
    goal = scale.place(bar.wanted) if bar.wanted is not None else 0.0
    return goal + 7 if place - 7 <= goal <= place + 8 * len(bar.text) else place


def _notes(about: Mapping[str, str]) -> Iterable[str]:
    """Return the lines at the foot: when, on what, which versions."""
    yield f"{about['date']}, commit {about['commit']}, {about['machine']}"
    load = f"Load before {about['load before']}, after {about['load after']}"
    yield f"Runs: {about['runs']}. {load}. Python {about['Python']}."
    yield f"Disk: {about['disk']}."
    if "remark" in about:
        yield about["remark"]
    words = about["versions"].split(", ")
    half = ceil(len(words) / 2) if len(about["versions"]) > 110 else len(words)
    yield ", ".join(words[:half])
    if words[half:]:
        yield ", ".join(words[half:])


def _head(title: str, height: int) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    name = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{name}">'
        f"<style>{_STYLE}</style>"
    )


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    size = f'width="{width:.1f}" height="{height}"'
    return f'<rect class="{kind}" x="{x}" y="{y}" {size} rx="2"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
