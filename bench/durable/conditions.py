"""What the durable suite needs beside Python, and goes without where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.suite import Conditions, Step

from . import syncs
from .rig import make_folder
from .servers import ABSENT, Servers

#: Microseconds that each fsync takes longer in these measures, which count them as well.
_DELAYS = {"syncs": 0, "slow_throughput": 1_000, "slow_crowd": 1_000}


@contextmanager
def prepare(plan: Sequence[Step]) -> Generator[Conditions]:
    """Start the brokers, build what counts fsyncs, and leave out what needs what is not there."""
    folder = make_folder("run-")
    servers = Servers(folder)
    try:
        absent = servers.start({_broker(step) for step in plan} - {""})
        library = syncs.build(folder)
        skipped = [ABSENT.format(name) for name in absent]
        if library is None:
            skipped.append(f"no C compiler here: {', '.join(_DELAYS)} are left out")
        yield Conditions(
            [
                step
                for step in plan
                if _broker(step) not in absent and (library or step.measure not in _DELAYS)
            ],
            lambda step: _environment(step, servers, library, folder),
            skipped,
        )
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _broker(step: Step) -> str:
    """Return ``redis``, ``rabbit`` or nothing."""
    last = step.peer.rpartition("_")[2]
    return last if last in ("redis", "rabbit") else ""


def _environment(
    step: Step, servers: Servers, library: Path | None, folder: Path
) -> Mapping[str, str]:
    if step.measure not in _DELAYS or library is None:
        return servers.environment
    return {**servers.environment, **syncs.environment(library, folder, _DELAYS[step.measure])}
