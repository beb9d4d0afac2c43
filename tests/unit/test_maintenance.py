"""Maintenance: it goes on, whatever happens to the store or to the log."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import SystemClock
from flask_later.core.store import DUE
from flask_later.errors import StoreError
from flask_later.stores.memory import MemoryStore


class RestlessStore(MemoryStore):
    """Cannot wait for what falls due, the first time."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(SystemClock())
        self.errors = [error]

    def wait(self, topics: Collection[str], timeout: float) -> None:
        if DUE in topics and self.errors:
            raise self.errors.pop()
        super().wait(topics, timeout)


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("disk full")


@pytest.mark.parametrize("error", [StoreError("locked"), ValueError(), SystemExit()])
def test_a_store_that_cannot_wait_does_not_end_it(error: BaseException) -> None:
    """Nor does a log that cannot say so; what falls due afterwards runs."""
    handler, logger = Broken(), logging.getLogger("flask_later")
    logger.addHandler(handler)
    try:
        with Shop(THREADS=1) as shop:
            app, store = shop.make_app(), RestlessStore(error)
            app.extensions[PREPARED_KEY] = Prepared(store=store)
            shop.__dict__["app"] = app
            shop.later.start(app)
            task = shop.later.task(name="now")(lambda: "now")
            job = shop.enqueue(task.using(delay=0.1))
            assert job.wait(timeout=PATIENCE).result == "now"
            assert not store.errors
    finally:
        logger.removeHandler(handler)


def test_it_rests_while_there_is_nothing_to_look_for(tmp_path: Path) -> None:
    """No step of it asks to be taken each second in a process that is idle."""
    with Shop(STORE=f"sqlite:///{tmp_path / 'later.sqlite3'}") as shop:
        task = shop.later.task(name="now")(lambda: "now")
        assert shop.run(task).result == "now"
        maintenance = shop.process.maintenance
        until(lambda: maintenance.look() > 5.0)
        shop.enqueue(task.using(delay=3.0))
        assert maintenance.look() <= 3.0
