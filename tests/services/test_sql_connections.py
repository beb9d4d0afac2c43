"""The connections of a process to its database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from tests import databases
from tests.services.conftest import Open

from flask_later.core.clock import SystemClock
from flask_later.errors import StoreMismatchError
from flask_later.stores.sql import SQLStore
from flask_later.stores.sql.address import parse


def test_one_that_is_in_use_when_the_store_is_closed_is_closed_when_it_is_given_back(
    url: str, opened: Open
) -> None:
    """So none is left over, whatever a thread is at."""
    store = opened(url)
    with store._connections.reading() as db:
        driver = db.connection.dbapi_connection
        store.close()
        assert db.exec_driver_sql("SELECT 1").scalar() == 1
    assert is_closed(driver)


def test_who_comes_after_the_store_was_closed_leaves_no_connection_open(
    url: str, opened: Open
) -> None:
    """It is answered all the same: the last writes of an app come late."""
    store = opened(url)
    store.close()
    with store._connections.reading() as db:
        driver = db.connection.dbapi_connection
    assert list(store.find().records) == []
    assert is_closed(driver)


def test_a_store_that_is_opened_again_keeps_its_connections(url: str, opened: Open) -> None:
    """As before."""
    store = opened(url)
    store.close()
    store.open()
    with store._connections.reading() as db:
        driver = db.connection.dbapi_connection
    assert not is_closed(driver)


def test_one_that_is_given_back_just_when_the_store_is_closed_is_closed(
    url: str, opened: Open
) -> None:
    """Whichever of the two comes first, there is nobody after them."""
    store = opened(url)
    engine = store._connections._engine
    event.listen(engine, "checkin", lambda *_: store.close())
    with store._connections.reading() as db:
        driver = db.connection.dbapi_connection
    assert is_closed(driver)


def test_one_that_is_given_back_after_the_store_was_opened_again_is_closed_with_it(
    url: str, opened: Open
) -> None:
    """It is in no other hands than the rest."""
    store = opened(url)
    with store._connections.reading() as db:
        driver = db.connection.dbapi_connection
        store.close()
        store.open()
    store.close()
    assert is_closed(driver)


def test_a_database_that_is_refused_is_left_alone(kind: str) -> None:
    """Nobody closes what was never open."""
    with databases.fresh(kind) as url:
        engine = create_engine(parse(url))
        with engine.begin() as db:
            db.execute(text("CREATE TABLE later_job (id INTEGER)"))
        engine.dispose()
        store, drivers = SQLStore(url, SystemClock()), list[Any]()
        event.listen(store._connections._engine, "connect", lambda each, _: drivers.append(each))
        with pytest.raises(StoreMismatchError, match="another program"):
            store.open()
        assert drivers
        assert all(map(is_closed, drivers))


def is_closed(driver: Any) -> bool:
    """Whether the connection of either driver is."""
    return bool(driver.closed if hasattr(driver, "closed") else not driver.open)
