"""The servers that the suite of engines needs; what lacks one here is left out."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from bench.durable.rig import make_folder
from bench.durable.servers import ABSENT, Servers
from bench.suite import Conditions, Step

#: Peer -> what it runs on.
NEEDS: Mapping[str, frozenset[str]] = {
    "ours_celery_redis": frozenset({"redis", "postgres"}),
    "bare_celery_redis": frozenset({"redis"}),
    "ours_celery_rabbit": frozenset({"rabbit", "postgres"}),
    "bare_celery_rabbit": frozenset({"rabbit", "redis"}),
    "ours_rq_redis": frozenset({"redis", "postgres"}),
    "bare_rq_redis": frozenset({"redis"}),
    "ours_native_postgres": frozenset({"postgres"}),
    "procrastinate": frozenset({"postgres"}),
}


@contextmanager
def prepare(plan: Sequence[Step]) -> Generator[Conditions]:
    """Start the servers. Each measurement finds an empty database."""
    folder = make_folder("run-")
    servers = Servers(folder)
    try:
        absent = {*servers.start(frozenset().union(*(NEEDS[step.peer] for step in plan)))}
        yield Conditions(
            [step for step in plan if not NEEDS[step.peer] & absent],
            lambda step: _environment(step, servers),
            [ABSENT.format(name) for name in sorted(absent)],
        )
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(step: Step, servers: Servers) -> Mapping[str, str]:
    if "postgres" in NEEDS[step.peer]:
        servers.empty_database()
    return servers.environment
