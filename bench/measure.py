"""``python -m bench.measure SUITE MEASURE PEER SCALE``: one measurement, printed as JSON.

``profile`` is a measure too; what it prints is for people.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module

from . import figures


def _end(_signal: int, _frame: object) -> None:
    raise SystemExit("bench: it took too long")


def main(suite: str, measure: str, peer: str, scale: str) -> None:
    # So that its worker ends as well.
    signal.signal(signal.SIGTERM, _end)
    if measure == "profile":
        from .profiling import profile

        print(profile(peer))
    else:
        print(json.dumps(_find(suite, measure)(peer, float(scale))))
    sys.stdout.flush()
    # Past the exit hooks: nobody waits for 100,000 queued jobs.
    os._exit(0)


def _find(suite: str, measure: str) -> Callable[[str, float], figures.Figures]:
    # Only the modules of the suite, since what one imports counts as memory in some measures.
    if suite != "memory":
        return import_module(f"bench.{suite}.measures").MEASURES[measure]
    if measure == "web":
        return import_module("bench.web").web
    return getattr(figures, measure)


if __name__ == "__main__":
    main(*sys.argv[1:])
