"""Scenes for the tests, what their processes said when one fails, and the figures of all runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .report import FIGURES
from .scene import Scene

REPORT = Path(__file__).parents[2] / "build" / "faults.json"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A folder of its own, its file made and watched; no process of it is left afterwards."""
    with ExitStack() as stack:
        scene = Scene(tmp_path, stack)
        scene.prepare()
        yield scene


@pytest.fixture
def bare_scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene without a file."""
    with ExitStack() as stack:
        yield Scene(tmp_path, stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed and Path(__file__).parent in item.path.parents:
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        for path in sorted(folder.glob("*.log")) if folder else ():
            report.sections.append((str(path), path.read_text(errors="replace")[-20_000:]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not FIGURES:
        return
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(FIGURES, indent=2) + "\n")
    terminalreporter.section(f"faults ({REPORT})")
    for name, figures in FIGURES.items():
        terminalreporter.line(f"{name}: {', '.join(f'{k} {v}' for k, v in figures.items())}")
