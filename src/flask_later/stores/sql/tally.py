"""How many jobs wait, without counting them.

Every transaction that changes the number changes a row of ``later_tally``, in its last statement.
There are several rows, so that few wait for each other; their sum is the number. Whoever is near
the limit holds the lock of it meanwhile, so that of two who add the last one only one does; far
from it nobody has to wait.
"""

from __future__ import annotations

import random

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from flask_later.core.job import JobState

from .tables import TALLY_ROWS, job, state_is, tally

_ADD = (
    update(tally)
    .where(tally.c.id == bindparam("row"))
    .values(pending=tally.c.pending + bindparam("more"))
)
_APPEND = insert(tally)
_SUM = select(func.coalesce(func.sum(tally.c.pending), 0))
# In one statement, which sees the jobs and the rows of the same transactions. Each count is of an
# index of its own.
_OFF_BY = select(
    select(func.count()).where(state_is(JobState.QUEUED)).select_from(job).scalar_subquery()
    + select(func.count())
    .where(state_is(JobState.SCHEDULED), job.c.turn_at.is_not(None))
    .select_from(job)
    .scalar_subquery()
    + select(func.count()).where(state_is(JobState.HELD)).select_from(job).scalar_subquery()
    - _SUM.scalar_subquery()
)
_APPENDED = (
    select(tally.c.id, tally.c.pending)
    .where(tally.c.id > TALLY_ROWS)
    .order_by(tally.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DELETE = delete(tally).where(tally.c.id.in_(bindparam("ids", expanding=True)))


def pending(db: Connection) -> int:
    """Return how many jobs wait."""
    return int(db.execute(_SUM).scalar_one())


def add(db: Connection, more: int) -> None:
    """Let the number be *more*; the last act of a transaction, which holds up others now."""
    db.execute(_ADD, {"row": some_row(), "more": more})


def some_row() -> int:
    """Return which row to change: another one than most others do at the same time."""
    return random.randint(1, TALLY_ROWS)


def append(db: Connection, more: int) -> None:
    """As :func:`add`, in a transaction of which nobody knows when it ends."""
    db.execute(_APPEND, {"id": random.randint(TALLY_ROWS + 1, 2**62), "pending": more})


def off_by(db: Connection) -> int:
    """Return how many more jobs wait than the number says: other hands than ours were at work."""
    return int(db.execute(_OFF_BY).scalar_one())


def fold(db: Connection, limit: int) -> int:
    """Take up what was appended; return how many rows that were."""
    rows = db.execute(_APPENDED, {"limit": limit}).all()
    if rows:
        db.execute(_DELETE, {"ids": [row.id for row in rows]})
        add(db, sum(row.pending for row in rows))
    return len(rows)
