"""How a database comes to hold the tables: made, recognised, or brought up to date.

The tables say two numbers. ``tables`` is their version; ``oldest_code`` is the oldest version of
this code that can work with them. So new code may add to the tables while old processes still run,
and only what old code cannot live with raises the second number.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, Table, delete, insert, inspect, select, text
from sqlalchemy.schema import CreateColumn

from flask_later.errors import StoreBusyError, StoreMismatchError, UnsupportedError

from .tables import LOCK_ROWS, TALLY_ROWS, lock, meta, metadata, tally

#: The version of these tables, and of the code that knows them.
VERSION = 3
OLDEST_CODE = 1

#: Seconds to wait for another process that makes the tables.
_PATIENCE = 30
#: The name of the lock for that, as a number ("FLtr").
_LOCK = 0x464C7472
_LOCK_PG = text(f"SELECT pg_advisory_xact_lock({_LOCK})")
_LOCK_TIMEOUT_PG = text(f"SET LOCAL lock_timeout = '{_PATIENCE}s'")
_LOCK_MYSQL = text(f"SELECT get_lock(concat('later-', database()), {_PATIENCE})")
_UNLOCK_MYSQL = text("SELECT release_lock(concat('later-', database()))")
#: What SKIP LOCKED needs.
_OLDEST = {"PostgreSQL": (12,), "MariaDB": (10, 6), "MySQL": (8, 0, 1)}


def server_of(db: Connection) -> str:
    """Return which kind of server that is."""
    if db.dialect.name == "postgresql":
        return "PostgreSQL"
    return "MariaDB" if getattr(db.dialect, "is_mariadb", False) else "MySQL"


def version_of(db: Connection) -> tuple[int, ...]:
    found = db.dialect.server_version_info or ()
    return tuple(each for each in found if isinstance(each, int))


def prepare(db: Connection, place: str) -> str:
    """Make sure that there are tables that this code can work with; return the store's identity.

    Many processes may do so at once.

    :raises StoreMismatchError: if the tables are too new, or not ours; they are not touched.
    :raises UnsupportedError: if the server is too old.
    """
    _require_version(db)
    facts = _read(db)
    if not _is_up_to_date(facts, place):
        with _locked(db):
            facts = _read(db)
            if not _is_up_to_date(facts, place):
                _bring_up_to_date(db, facts, place)
                facts = _read(db)
    return facts["identity"]


def tables_version(db: Connection) -> tuple[int, int]:
    """Return the version of the tables, and of the oldest code that they take."""
    facts = _read(db)
    return int(facts.get("tables", 0)), int(facts.get("oldest_code", 0))


def _require_version(db: Connection) -> None:
    server, version = server_of(db), version_of(db)
    oldest = _OLDEST[server]
    if version < oldest:
        needed = ".".join(map(str, oldest))
        raise UnsupportedError(
            "LATER_STORE",
            f"the server is {server} {'.'.join(map(str, version))}, which cannot skip locked rows",
            f"{server} {needed} or newer is needed.",
        )


def _read(db: Connection) -> dict[str, str]:
    if not inspect(db).has_table(meta.name):
        return {}
    return {row.key: row.value for row in db.execute(select(meta.c.key, meta.c.value))}


def _is_up_to_date(facts: Mapping[str, str], place: str) -> bool:
    oldest_code = int(facts.get("oldest_code", 0))
    version = int(facts.get("tables", 0))
    if oldest_code > VERSION:
        raise StoreMismatchError(
            place,
            f"it was written by a newer Flask-Later (its tables are of version {version} and need "
            f"code of version {oldest_code}, here is {VERSION}). Type: pip install --upgrade "
            f"flask-later",
        )
    return version >= VERSION


@contextmanager
def _locked(db: Connection) -> Generator[None]:
    """Let nobody else make the tables meanwhile."""
    if db.dialect.name == "postgresql":
        db.execute(_LOCK_TIMEOUT_PG)
        db.execute(_LOCK_PG)
        yield
        db.commit()
        return
    if db.execute(_LOCK_MYSQL).scalar() != 1:
        raise StoreBusyError(_PATIENCE)
    # What the one before has committed is to be seen.
    db.commit()
    try:
        yield
        db.commit()
    finally:
        db.execute(_UNLOCK_MYSQL)


def _bring_up_to_date(db: Connection, facts: Mapping[str, str], place: str) -> None:
    # MariaDB commits each statement of these. So what says that they are done comes last, and who
    # comes after a crash in between does the rest.
    if not facts:
        _refuse_foreign(db, place)
    metadata.create_all(db)
    for table in metadata.sorted_tables:
        _add_columns(db, table)
        for index in table.indexes:
            index.create(db, checkfirst=True)
    _fill(db)
    ours = {"tables": str(VERSION), "oldest_code": str(OLDEST_CODE)}
    ours.setdefault("identity", facts.get("identity", f"sql-{secrets.token_hex(8)}"))
    db.execute(delete(meta))
    db.execute(insert(meta), [{"key": key, "value": value} for key, value in ours.items()])


def _add_columns(db: Connection, table: Table) -> None:
    """Add the columns that *table* has not had before; they are NULL in what is there."""
    there = {each["name"] for each in inspect(db).get_columns(table.name)}
    for column in table.c:
        if column.name not in there:
            definition = CreateColumn(column).compile(dialect=db.dialect)
            db.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))


def _refuse_foreign(db: Connection, place: str) -> None:
    """Look for a table that has a name of ours and another's columns."""
    seen = inspect(db)
    for table in metadata.sorted_tables:
        if table is not meta and seen.has_table(table.name):
            columns = {each["name"] for each in seen.get_columns(table.name)}
            if not columns >= {each.name for each in table.c}:
                raise StoreMismatchError(
                    place, f"its table {table.name} was made by another program"
                )


def _fill(db: Connection) -> None:
    for table, first, number in ((tally, 1, TALLY_ROWS), (lock, 0, LOCK_ROWS)):
        there = set(db.execute(select(table.c.id)).scalars())
        missing = [each for each in range(first, first + number) if each not in there]
        if missing:
            zero = {each.name: 0 for each in table.c}
            db.execute(insert(table), [{**zero, "id": each} for each in missing])
