"""The oracle's way into a database: statements of its own, and triggers that note every change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pymysql
from sqlalchemy import make_url

_NOTE = "INSERT INTO audit (job, was, now, fence_was, fence) VALUES "
_ADDED = f"{_NOTE} (NEW.id, NULL, NEW.state, NULL, NEW.fence);"
_CHANGED = f"{_NOTE} (NEW.id, OLD.state, NEW.state, OLD.fence, NEW.fence);"
_REMOVED = f"{_NOTE} (OLD.id, OLD.state, NULL, OLD.fence, NULL);"
_COLUMNS = "job VARCHAR(32), was VARCHAR(16), now VARCHAR(16), fence_was BIGINT, fence BIGINT"
_POSTGRESQL = f"""
    CREATE TABLE audit (n BIGSERIAL PRIMARY KEY, {_COLUMNS});
    CREATE FUNCTION audit_change() RETURNS trigger AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN {_ADDED}
        ELSIF TG_OP = 'DELETE' THEN {_REMOVED}
        ELSIF OLD.state <> NEW.state OR OLD.fence <> NEW.fence THEN {_CHANGED}
        END IF;
        RETURN NULL;
    END $$ LANGUAGE plpgsql;
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON later_job
    FOR EACH ROW EXECUTE FUNCTION audit_change()
"""
_MARIADB = (
    f"CREATE TABLE audit (n BIGINT AUTO_INCREMENT PRIMARY KEY, {_COLUMNS}) ENGINE = InnoDB",
    f"CREATE TRIGGER audit_insert AFTER INSERT ON later_job FOR EACH ROW {_ADDED}",
    f"CREATE TRIGGER audit_delete AFTER DELETE ON later_job FOR EACH ROW {_REMOVED}",
    f"""CREATE TRIGGER audit_update AFTER UPDATE ON later_job FOR EACH ROW
    IF OLD.state <> NEW.state OR OLD.fence <> NEW.fence THEN {_CHANGED} END IF""",
)


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    """A connection that is closed whatever becomes of it or of its server.

    Each statement is a transaction.
    """
    address = make_url(url)
    facts = {"host": address.host, "port": address.port, "user": address.username}
    facts |= {"password": address.password, "autocommit": True}
    connect: Any
    if address.get_backend_name() == "postgresql":
        connect, name = psycopg.connect, "dbname"
    else:
        connect, name = pymysql.connect, "database"
    with closing(connect(**facts, **{name: address.database})) as db:
        yield db


def execute(url: str, *statements: str) -> list[Any]:
    """Execute *statements*; return the rows that the last of them has."""
    with _opened(url) as db, closing(db.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
        return [*cursor.fetchall()] if cursor.description else []


def watch(url: str) -> None:
    """Note every change of a job from now on, within the transaction that makes it."""
    execute(url, *([_POSTGRESQL] if url.startswith("postgresql") else _MARIADB))
