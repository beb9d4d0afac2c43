"""Tables of an older version become today's, with what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import inspect, text
from tests import databases

from flask_later.core.exchange import Want
from flask_later.stores.sql.tables import metadata
from flask_later.testing.records import make_record

from .conftest import Open

pytestmark = pytest.mark.services

#: What the tables of version 2 did not have.
NEWER = ("progress_at", "principal", "pending_of")


@pytest.fixture
def url(kind: str) -> Iterator[str]:
    """A database of its own, since its tables are changed."""
    with databases.fresh(kind) as url:
        yield url


def run(url: str, statements: Sequence[str]) -> None:
    with databases.reached(url).begin() as db:
        for statement in statements:
            db.execute(text(statement))


def columns(url: str) -> dict[str, set[str]]:
    with databases.reached(url).connect() as db:
        seen = inspect(db)
        return {name: {each["name"] for each in seen.get_columns(name)} for name in metadata.tables}


def test_what_older_tables_lack_is_added(url: str, opened: Open) -> None:
    """Their jobs run, beside new ones."""
    old = make_record()
    opened(url).add([old])
    today = columns(url)
    drops = [f"ALTER TABLE later_job DROP COLUMN {name}" for name in NEWER]
    run(url, [*drops, "UPDATE later_meta SET value = '2' WHERE later_meta.key = 'tables'"])
    store = opened(url)
    assert columns(url) == today
    new = make_record()
    store.add([new])
    assert {job.id for job in store.exchange("w", (), Want(2)).claimed} == {old.id, new.id}


def test_a_process_that_died_half_way_is_followed_up(url: str, opened: Open) -> None:
    """Some of the columns are there, and nothing says so."""
    opened(url)
    today = columns(url)
    drop = f"ALTER TABLE later_job DROP COLUMN {NEWER[-1]}"
    run(url, [drop, "UPDATE later_meta SET value = '2' WHERE later_meta.key = 'tables'"])
    opened(url)
    assert columns(url) == today
