"""What nearly every job goes through, on PostgreSQL: one statement, and so one round trip.

A statement that stands alone is a transaction. It writes what the rules in ``core/states.py`` say,
``claimed()`` and ``settled()`` for a success, and only where nothing else can be meant. Whatever
else there is to decide is left to a transaction of several statements, with the rules in between;
that one finds out what is done already, as after an answer that was lost.

The driver is asked itself: SQLAlchemy would take longer than the database does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.dialects import postgresql

from flask_later.core.exchange import Want
from flask_later.core.job import JobRecord
from flask_later.core.states import claimed
from flask_later.core.store import MAX_PAGE
from flask_later.stores.columns import FIELDS, to_micros, to_record

from . import tally
from .claims import RUNNABLE
from .jobs import Jobs
from .rows import ROW, to_row
from .tables import job
from .texts import Escaped, escaped, unescaped
from .trouble import DriverError

_dialect: Callable[[], Dialect] = postgresql.dialect
_TYPES = {name: job.c[name].type for name in ROW}
_VALUES = (f"%({name})s::{type.compile(_dialect())}" for name, type in _TYPES.items())
_TEXTS = [name for name, type in _TYPES.items() if isinstance(type, Escaped)]
_TEXTS_AT = [FIELDS.index(name) for name in _TEXTS if name in FIELDS]

# Far from the limit.
_ADD = f"""
    WITH new AS (
        INSERT INTO later_job ({", ".join(ROW)}) SELECT {", ".join(_VALUES)}
        WHERE (SELECT coalesce(sum(pending), 0) FROM later_tally) < %(near)s::bigint
        RETURNING 1
    ), counted AS (
        UPDATE later_tally SET pending = pending + 1
        WHERE id = %(row)s::bigint AND EXISTS (SELECT FROM new)
    )
    SELECT count(*) FROM new
"""

# From which queues to hand out, the first one first. Of those in the same place the best comes.
_OF_THESE = """
    SELECT queue, place FROM unnest(%(names)s::text[]) WITH ORDINALITY AS named (queue, place)
    WHERE queue NOT IN (SELECT name FROM later_queue WHERE paused = 1)
"""
_OF_ANY = f"""
    SELECT queue, (queue <> ALL (%(names)s::text[]))::int FROM ({RUNNABLE}) AS runnable
"""
# No join decides which rows of later_job are read, but what each look asks for: the plan of an
# empty table stays in use when there is a backlog.
_EXCHANGE = f"""
    WITH ended AS (
        SELECT * FROM unnest(%(ids)s::text[], %(fences)s::bigint[], %(results)s::text[])
            AS each (id, fence, result)
    ), settled AS (
        UPDATE later_job SET state = 'succeeded', finished_at = %(now)s::bigint,
            turn_at = greatest(%(now)s::bigint, key_free_at), result = ended.result,
            error = NULL, worker = NULL, left_out = NULL
        FROM ended
        WHERE later_job.id = ANY (%(ids)s::text[]) AND later_job.id = ended.id
            AND later_job.fence = ended.fence AND state = 'running' AND stop IS NULL
        RETURNING 1
    ), source (queue, place) AS (
        {{source}}
    ), front AS (
        SELECT source.*, best.* FROM source CROSS JOIN LATERAL (
            SELECT rank, seq FROM later_job WHERE state = 'queued' AND queue = source.queue
            ORDER BY rank, seq LIMIT %(limit)s::int
        ) AS best
        ORDER BY place, rank, seq LIMIT %(limit)s::int
    ), portion AS (
        SELECT queue, min(place) AS place, count(*) AS number FROM front
        WHERE (SELECT count(*) FROM settled) = cardinality(%(ids)s::text[])
        GROUP BY queue
    ), best AS (
        SELECT portion.place, mine.* FROM portion CROSS JOIN LATERAL (
            SELECT * FROM later_job WHERE state = 'queued' AND queue = portion.queue
            ORDER BY rank, seq LIMIT portion.number FOR UPDATE SKIP LOCKED
        ) AS mine
    ), verdict AS (
        SELECT (SELECT count(*) FROM settled) = cardinality(%(ids)s::text[])
            AND count(*) FILTER (WHERE crashes > 0 OR expires_at <= %(now)s::bigint) = 0
            AS is_plain
        FROM best
    ), handed AS (
        UPDATE later_job SET state = 'running', worker = %(worker)s::text,
            started_at = %(now)s::bigint, fence = fence + 1, attempts = attempts + 1,
            progress = NULL, progress_at = NULL, parked_for = NULL, expiring_at = NULL,
            pending_of = NULL, left_out = NULL
        WHERE seq = ANY (ARRAY(SELECT seq FROM best WHERE (SELECT is_plain FROM verdict)))
        RETURNING 1
    ), counted AS (
        UPDATE later_tally SET pending = pending - (SELECT count(*) FROM handed)
        WHERE id = %(row)s::bigint AND EXISTS (SELECT FROM handed)
    )
    SELECT {", ".join(f"best.{name}" for name in FIELDS)},
        best.place, best.rank, best.seq, verdict.is_plain
    FROM verdict LEFT JOIN best ON true
"""
_EXCHANGE_OF_THESE = _EXCHANGE.format(source=_OF_THESE)
_EXCHANGE_OF_ANY = _EXCHANGE.format(source=_OF_ANY)


def add(jobs: Jobs, record: JobRecord, near: int) -> bool:
    """Store *record*, whose id is new, and which has neither a unique key nor a principal.

    Returns False if *near* jobs wait already; then nothing has been written.
    """
    values: dict[str, Any] = {**to_row(record), "near": near, "row": tally.some_row()}
    values.update((name, escaped(values[name])) for name in _TEXTS if values[name] is not None)
    ((number,),) = _ask(jobs.db, _ADD, values)
    if number:
        jobs.remember(record)
    return bool(number)


def exchange(
    jobs: Jobs, worker: str, ended: Sequence[tuple[JobRecord, str]], want: Want
) -> list[JobRecord] | None:
    """Settle attempts that have *ended* well, and return what *worker* gets for them.

    None if any of it has to be decided: then nothing is handed out, and perhaps not all is settled.
    """
    first = [] if want.prefer is None else [want.prefer.queue]
    ids = [record.id for record, _ in ended]
    names = dict.fromkeys([*first, *(want.queues or ())])
    values: dict[str, Any] = {
        "ids": ids,
        "fences": [record.fence for record, _ in ended],
        "results": [escaped(result) for _, result in ended],
        "names": [escaped(name) for name in names],
        "now": to_micros(jobs.now),
        "worker": escaped(worker),
        "limit": min(want.limit, MAX_PAGE),
        "row": tally.some_row(),
    }
    statement = _EXCHANGE_OF_ANY if want.queues is None else _EXCHANGE_OF_THESE
    rows = _ask(jobs.db, statement, values)
    jobs.ended += ids
    if not rows[0][-1]:
        return None
    # By place, rank and number. One without a number stands for none.
    handed = sorted((row for row in rows if row[-2] is not None), key=lambda row: row[-4:-1])
    return [claimed(_to_record(row), worker, jobs.now) for row in handed]


def _to_record(row: Sequence[Any]) -> JobRecord:
    values = [*row]
    for place in _TEXTS_AT:
        if values[place] is not None:
            values[place] = unescaped(values[place])
    return to_record(values)


def _ask(db: Connection, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    driver: Any = db.connection.dbapi_connection
    try:
        rows: list[tuple[Any, ...]] = driver.execute(statement, values).fetchall()
    except Exception as error:
        if driver.closed:
            db.invalidate()
        raise DriverError(error) from error
    return rows
