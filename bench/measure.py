"""``python -m bench.measure MEASURE PEER SCALE``: one measurement of one peer, printed as JSON."""

from __future__ import annotations

import json
import os
import sys

from . import figures
from .peers import PEERS
from .web import web

MEASURES = {
    "enqueue": figures.enqueue,
    "throughput": figures.throughput,
    "pickup": figures.pickup,
    "memory": figures.memory,
    "web": web,
}

#: What is measured of whom; the peers take turns within each measure.
PLAN = [(measure, peer) for measure in MEASURES if measure != "web" for peer in PEERS]
PLAN.append(("web", "ours"))


def main(measure: str, peer: str, scale: str) -> None:
    if measure == "profile":
        from .profiling import profile

        print(profile(peer))
    else:
        print(json.dumps(MEASURES[measure](peer, float(scale))))
    sys.stdout.flush()
    # Past the exit hooks: nobody waits for 100,000 queued jobs.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
