"""What is wrong with a database, for ``flask later doctor``. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import text, update

from flask_later.core.clock import Clock
from flask_later.core.store import Finding
from flask_later.errors import StoreReadOnlyError

from . import tally
from .jobs import Jobs
from .preparing import server_of, tables_version, version_of
from .tables import queue
from .transactions import Transactions

#: Seconds that an answer may take, and that two clocks may be apart.
_SLOW, _APART = 0.02, 1.0
_CONNECTIONS = {
    "postgresql": text(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL), "
        "current_setting('max_connections')::int"
    ),
    "mysql": text(
        "SELECT (SELECT count(*) FROM information_schema.processlist), @@max_connections"
    ),
}
_ANYTHING = text("SELECT 1")
# Of no row: a server that is read-only refuses it all the same.
_NOTHING = update(queue).where(queue.c.name == "").values(paused=0)


def examine(transactions: Transactions, clock: Clock) -> Iterator[Finding]:
    """Yield findings, each as soon as it is known."""
    yield transactions.read(_server)
    yield transactions.read(_speed)
    yield transactions.read(lambda jobs: _clock(jobs, clock))
    yield transactions.read(_connections)
    yield _writing(transactions)
    yield transactions.read(_tables)
    yield transactions.read(_tally)


def _server(jobs: Jobs) -> Finding:
    version = ".".join(map(str, version_of(jobs.db)))
    return Finding("ok", f"server: {server_of(jobs.db)} {version}")


def _speed(jobs: Jobs) -> Finding:
    began = time.perf_counter()
    jobs.db.execute(_ANYTHING)
    took = time.perf_counter() - began
    told = f"answers within {took * 1000:.2g} ms"
    if took > _SLOW:
        advice = "A job takes several round trips. Put the database nearer to the workers."
        return Finding("warning", told, advice)
    return Finding("ok", told)


def _clock(jobs: Jobs, clock: Clock) -> Finding:
    ahead = (jobs.now - clock.now()).total_seconds()
    told = f"clock: that of the database is {abs(ahead):.2g} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) > _APART:
        advice = "Delays begin by this machine's clock and end by the other. Check: timedatectl"
        return Finding("warning", told, advice)
    return Finding("ok", told)


def _connections(jobs: Jobs) -> Finding:
    used, allowed = jobs.db.execute(_CONNECTIONS[jobs.db.dialect.name]).one()
    told = f"connections: {used} of {allowed} are in use"
    if used > 0.8 * allowed:
        advice = "Raise max_connections of the server, or run fewer processes or threads."
        return Finding("warning", told, advice)
    return Finding("ok", told)


def _writing(transactions: Transactions) -> Finding:
    try:
        transactions.write(lambda jobs: jobs.db.execute(_NOTHING))
    except StoreReadOnlyError as error:
        return Finding("error", str(error))
    return Finding("ok", "it can be written to")


def _tables(jobs: Jobs) -> Finding:
    version, oldest_code = tables_version(jobs.db)
    return Finding("ok", f"tables: version {version}, code from version {oldest_code} on")


def _tally(jobs: Jobs) -> Finding:
    missing = tally.off_by(jobs.db)
    if missing:
        return Finding(
            "warning",
            f"the count of waiting jobs is wrong by {missing}: somebody has changed later_job by "
            f"hand. It is put right when the store is nearly full",
        )
    return Finding("ok", "the count of waiting jobs is right")
