"""The tables, the same on all databases.

Instants are microseconds since 1970, UTC. The indexes hold few rows on PostgreSQL, where they are
partial; MariaDB has no such indexes, so there the state stands in front of the others.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    literal_column,
)
from sqlalchemy.sql.elements import ColumnElement

from flask_later.core.job import JobState

from .texts import Body, Name

#: Rows of ``later_tally`` that are there for good; see ``tally.py``.
TALLY_ROWS = 16
#: Rows of ``later_lock``; see ``locks.py``.
LOCK_ROWS = 1024
#: Bytes of a file in one row: far from the largest packet that a server takes.
MAX_PART = 256 * 1024

metadata = MetaData()
_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}

#: What the tables are: ``tables`` and ``oldest_code`` (see ``preparing.py``), ``identity``.
meta = Table(
    "later_meta",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("value", String(255), nullable=False),
    **_OPTIONS,
)

job = Table(
    "later_job",
    metadata,
    # The order in which jobs were stored.
    Column("seq", BigInteger, primary_key=True, autoincrement=True),
    Column("id", Name(32), nullable=False, unique=True),
    Column("task", Name(255), nullable=False),
    Column("queue", Name(255), nullable=False),
    Column("payload", Body, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("run_at", BigInteger, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("context", Body, nullable=False),
    Column("timeout", Double),
    Column("unique_key", Name(255)),
    Column("fence", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("releases", Integer, nullable=False),
    Column("worker", Name(255)),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("stop", String(16)),
    Column("result", Body),
    Column("error", Body),
    Column("progress", Body),
    Column("parked_for", Name(255)),
    Column("scheduled_at", BigInteger),
    Column("schedule", Name(255)),
    Column("unique_until", String(16), nullable=False),
    Column("key_free_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("progress_at", BigInteger),
    Column("principal", Name(255)),
    # Its place in its queue.
    Column("rank", BigInteger, nullable=False),
    # When time alone moves it on: a scheduled one becomes due, a finished one was over and its time
    # to live began. NULL in all other states.
    Column("turn_at", BigInteger),
    # expires_at, as long as it can expire.
    Column("expiring_at", BigInteger),
    # principal, as long as it waits.
    Column("pending_of", Name(255)),
    # Since when the beats of its worker have not named it.
    Column("left_out", BigInteger),
    **_OPTIONS,
)

worker = Table(
    "later_worker",
    metadata,
    Column("id", Name(255), primary_key=True),
    Column("host", Name(255), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("queues", Body),
    Column("threads", Integer, nullable=False),
    Column("beat_at", BigInteger, nullable=False),
    **_OPTIONS,
)

log = Table(
    "later_log",
    metadata,
    Column("job", Name(32), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("message", Body, nullable=False),
    **_OPTIONS,
)

#: Files that belong to jobs, in parts; see ``files.py``.
file = Table(
    "later_file",
    metadata,
    Column("job", Name(32), primary_key=True),
    Column("kind", Name(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    # With a length, by which MySQL chooses the type.
    Column("data", LargeBinary(MAX_PART), nullable=False),
    **_OPTIONS,
)

#: Queues of which more is known than their jobs say.
queue = Table(
    "later_queue",
    metadata,
    Column("name", Name(255), primary_key=True),
    Column("paused", Integer, nullable=False),
    # When somebody last hinted again at it.
    Column("hinted_at", BigInteger),
    **_OPTIONS,
)

schedule = Table(
    "later_schedule",
    metadata,
    Column("name", Name(255), primary_key=True),
    Column("last_due", BigInteger, nullable=False),
    **_OPTIONS,
)

tally = Table(
    "later_tally",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("pending", BigInteger, nullable=False),
    **_OPTIONS,
)

lock = Table(
    "later_lock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    **_OPTIONS,
)

#: Processes that listen for wake-ups, and for which.
listener = Table(
    "later_listener",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("topics", Body, nullable=False),
    Column("at", BigInteger, nullable=False),
    **_OPTIONS,
)


def state_is(*states: JobState) -> ColumnElement[bool]:
    """Return the condition that a job is in one of *states*.

    They stand in the statement and are not bound, or PostgreSQL would not see that an index for
    that state will do.
    """
    words: list[ColumnElement[str]] = [literal_column(f"'{state.value}'") for state in states]
    return job.c.state == words[0] if len(words) == 1 else job.c.state.in_(words)


def _index(name: str, *columns: str, where: ColumnElement[bool]) -> None:
    """Make an index of those jobs, or of all where that cannot be."""
    chosen = (job.c[each] for each in columns)
    Index(f"later_job_{name}", *chosen, postgresql_where=where)


def _index_of(state: JobState, name: str, *columns: str) -> None:
    """Make an index of the jobs in *state*, or of all by their states where that cannot be."""
    chosen = [job.c[each] for each in columns]
    partial = Index(f"later_job_{name}", *chosen, postgresql_where=state_is(state))
    partial.ddl_if(dialect="postgresql")
    Index(f"later_job_{name}", job.c.state, *chosen).ddl_if(dialect="mysql")


_index_of(JobState.QUEUED, "ready", "queue", "rank", "seq")
_index_of(JobState.PARKED, "parked", "task", "parked_for", "seq")
_index("turn", "state", "turn_at", "seq", where=job.c.turn_at.is_not(None))
_index("running", "worker", "seq", where=job.c.worker.is_not(None))
_index("key", "unique_key", "seq", where=job.c.unique_key.is_not(None))
_index("pending_of", "pending_of", "rank", where=job.c.pending_of.is_not(None))
_index("expiring", "expiring_at", "seq", where=job.c.expiring_at.is_not(None))
Index("later_job_held", job.c.seq, postgresql_where=state_is(JobState.HELD)).ddl_if(
    dialect="postgresql"
)
