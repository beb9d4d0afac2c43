"""Where a run that was complete is kept: ``results/``, and the tables in README.md."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from . import charts
from .report import Raw
from .suite import Suite

README = Path(__file__).parent / "README.md"
RESULTS = README.parent / "results"


def publish(suite: Suite, text: str, raw: Raw, about: Mapping[str, str]) -> None:
    """Replace what is kept of *suite*."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{suite.name}.md").write_text(f"{text}\n")
    write(RESULTS / f"{suite.name}.json", raw, about)
    charts.draw(suite, raw, about, RESULTS)
    before, mark, rest = README.read_text().partition(f"<!-- {suite.name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    README.write_text(f"{before}{mark}\n{text}\n\n{end}{after}")


def write(path: Path, raw: Raw, about: Mapping[str, str]) -> None:
    """Write every single measurement."""
    figures: defaultdict[str, dict[str, list[float]]] = defaultdict(dict)
    for (figure, peer), runs in raw.items():
        figures[figure][peer] = [*runs.values()]
    path.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")


def read(path: Path) -> tuple[Raw, dict[str, str]]:
    """Return what ``write`` has written."""
    kept = json.loads(path.read_text())
    raw = {
        (figure, peer): dict(enumerate(runs))
        for figure, peers in kept["figures"].items()
        for peer, runs in peers.items()
    }
    return raw, kept["about"]
