"""The connections of a process to its database."""

from __future__ import annotations

from typing import Any

from tests.services.conftest import Open


def test_one_that_is_in_use_when_the_store_is_closed_is_closed_when_it_is_given_back(
    url: str, opened: Open
) -> None:
    """So none is left over, whatever a thread is at."""
    store = opened(url)
    with store._connections.reading.connect() as db:
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
    with store._connections.reading.connect() as db:
        driver = db.connection.dbapi_connection
    assert list(store.find().records) == []
    assert is_closed(driver)


def test_a_store_that_is_opened_again_keeps_its_connections(url: str, opened: Open) -> None:
    """As before."""
    store = opened(url)
    store.close()
    store.open()
    with store._connections.reading.connect() as db:
        driver = db.connection.dbapi_connection
    assert not is_closed(driver)


def is_closed(driver: Any) -> bool:
    """Whether the connection of either driver is."""
    return bool(driver.closed if hasattr(driver, "closed") else not driver.open)
