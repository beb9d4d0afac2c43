"""Jobs that are stored in the app's own transaction: with its rows, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column
from tests import databases

from flask_later import JobState, Later
from flask_later.core.store import Store
from flask_later.errors import JobNotFoundError, QueueFullError, UnsupportedError
from flask_later.signals import job_enqueued
from flask_later.stores.sql.address import parse
from flask_later.tasks.state import AppState

pytestmark = pytest.mark.services

PATIENCE = 20.0


class Shop:
    """An app whose orders and jobs lie in one database."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.db = db = SQLAlchemy()
        self.later = later = Later()

        class Order(db.Model):  # type: ignore[misc, name-defined]
            id: Mapped[int] = mapped_column(primary_key=True)

        @later.task(name="ship")
        def ship(order_id: int) -> bool:
            return db.session.get(Order, order_id) is not None

        self.order, self.ship = Order, ship
        self.app = Flask("shop")
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI=parse(url), LATER_STORE=url, LATER_THREADS=2, **settings
        )
        db.init_app(self.app)
        later.init_app(self.app)

    def enqueue(self, *order_ids: int, within: Any = None, **options: Any) -> list[str]:
        task = self.ship.using(**options)
        calls = [task.call(each) for each in order_ids]
        return [job.id for job in self.later.enqueue_many(calls, within=within or self.db.session)]

    @contextmanager
    def opened(self) -> Iterator[Shop]:
        """In an app context, whose session the test has."""
        with self.app.app_context(), ExitStack() as stack:
            stack.callback(self.db.engine.dispose)
            self.db.drop_all()
            self.db.create_all()
            stack.callback(self.db.drop_all)
            stack.callback(self.later_store.close)
            stack.callback(self.later.stop, self.app, PATIENCE)
            stack.callback(self.db.session.remove)
            yield self

    @property
    def later_store(self) -> Store:
        state: AppState = self.app.extensions["later"]
        return state.store


@pytest.fixture
def shop(url: str) -> Iterator[Shop]:
    with Shop(url).opened() as shop:
        yield shop


def test_a_job_comes_with_the_commit_and_sees_its_rows(shop: Shop) -> None:
    """Before that there is none, and nobody is told of it."""
    shop.later.start(shop.app)
    heard: list[str] = []

    def hear(_: object, job: Any, **__: object) -> None:
        heard.append(job.id)

    with job_enqueued.connected_to(hear, shop.app):
        shop.db.session.add(shop.order(id=1))
        (job_id,) = shop.enqueue(1)
        with pytest.raises(JobNotFoundError):
            shop.later.job(job_id)
        assert heard == []
        shop.db.session.commit()
        assert heard == [job_id]
    assert shop.later.job(job_id).wait(timeout=PATIENCE).result is True


def test_a_rollback_leaves_nothing(shop: Shop) -> None:
    """Neither the job nor its place among those that wait, nor its key."""
    heard: list[object] = []
    with job_enqueued.connected_to(lambda _, **facts: heard.append(facts), shop.app):
        (job_id,) = shop.enqueue(1, unique_key="k")
        shop.db.session.rollback()
    assert heard == []
    with pytest.raises(JobNotFoundError):
        shop.later.job(job_id)
    assert not shop.ship.using(unique_key="k").enqueue(2).duplicate


def test_what_a_savepoint_undoes_is_not_announced(shop: Shop) -> None:
    """The rest is."""
    heard: list[str] = []
    with job_enqueued.connected_to(lambda _, job, **__: heard.append(job.id), shop.app):
        (kept,) = shop.enqueue(1)
        savepoint = shop.db.session.begin_nested()
        shop.enqueue(2)
        savepoint.rollback()
        assert heard == []
        shop.db.session.commit()
    assert heard == [kept]


def test_a_connection_will_do_as_well(shop: Shop) -> None:
    """For apps without a session."""
    with shop.db.engine.begin() as connection:
        ids = shop.enqueue(1, 2, within=connection)
    assert [shop.later.job(each).state for each in ids] == [JobState.QUEUED] * 2


def test_a_unique_key_is_one_among_both_ways(shop: Shop) -> None:
    """Whoever had it first."""
    first = shop.ship.using(unique_key="k").enqueue(1)
    assert shop.enqueue(2, unique_key="k") == [first.id]
    shop.db.session.commit()
    assert shop.later.job(first.id).state is JobState.QUEUED


def test_what_is_refused_leaves_the_transaction_usable(url: str) -> None:
    """The caller may go on without the job."""
    with Shop(url, LATER_MAX_PENDING=2).opened() as shop:
        shop.db.session.add(shop.order(id=1))
        with pytest.raises(QueueFullError):
            shop.enqueue(1, 2, 3)
        shop.enqueue(1, 2)
        shop.db.session.commit()
        with pytest.raises(QueueFullError):
            shop.ship.enqueue(3)
        assert shop.db.session.get(shop.order, 1) is not None


def test_another_database_is_refused(shop: Shop, kind: str) -> None:
    """Its transaction could not hold the job."""
    with (
        databases.fresh(kind) as elsewhere,
        databases.reached(elsewhere).connect() as connection,
        pytest.raises(UnsupportedError, match="another database"),
    ):
        shop.enqueue(1, within=connection)


def test_what_is_no_transaction_is_refused(shop: Shop) -> None:
    """The error says what to give."""
    with pytest.raises(UnsupportedError, match=r"within=db\.session"):
        shop.enqueue(1, within=shop.db)
