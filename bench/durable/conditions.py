"""What the durable suite needs beside Python, and goes without where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.suite import Conditions, Step

from . import syncs
from .brokers import Brokers
from .rig import make_folder

#: Microseconds that each fsync takes longer in these measures, which count them as well.
_DELAYS = {"syncs": 0, "slow_throughput": 1_000, "slow_crowd": 1_000}


@contextmanager
def prepare(plan: Sequence[Step]) -> Generator[Conditions]:
    """Start the brokers, build what counts fsyncs, and leave out what needs what is not there."""
    folder = make_folder("run-")
    brokers = Brokers(folder)
    try:
        needed = {_broker(step) for step in plan} - {""}
        brokers.start(sorted(needed))
        absent = sorted(name for name in needed if not brokers.has(name))
        library = syncs.build(folder)
        skipped = [
            f"no {name} here, its peers are left out: make bench-services" for name in absent
        ]
        if library is None:
            skipped.append(f"no C compiler here: {', '.join(_DELAYS)} are left out")
        yield Conditions(
            [
                step
                for step in plan
                if _broker(step) not in absent and (library or step.measure not in _DELAYS)
            ],
            lambda step: _environment(step, brokers, library, folder),
            skipped,
        )
    finally:
        brokers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _broker(step: Step) -> str:
    """Return ``redis``, ``rabbit`` or nothing."""
    last = step.peer.rpartition("_")[2]
    return last if last in ("redis", "rabbit") else ""


def _environment(
    step: Step, brokers: Brokers, library: Path | None, folder: Path
) -> Mapping[str, str]:
    if step.measure not in _DELAYS or library is None:
        return brokers.environment
    return {**brokers.environment, **syncs.environment(library, folder, _DELAYS[step.measure])}
