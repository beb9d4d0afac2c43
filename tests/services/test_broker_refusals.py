"""Brokers that let nobody in, or that are not there: said plainly, without the password."""

from __future__ import annotations

import gc
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from kombu import Connection
from redis import Redis as Client
from tests.brokers import HOST, RabbitMQ, free_port, running_redis

from flask_later import Later, Task
from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import SystemClock
from flask_later.core.job import JobState
from flask_later.engines.celery import CeleryEngine
from flask_later.engines.rq import RQEngine
from flask_later.stores.memory import MemoryStore
from flask_later.tasks.state import AppState

pytestmark = pytest.mark.services

PATIENCE = 60.0
#: What the app believes, and what the broker wants. Nobody may ever read either.
WRONG, RIGHT = "correct-horse", "battery-staple"


class FarMemory(MemoryStore):
    """Has the reach of a database, where none is used."""

    reach = "network"


@dataclass
class Shop:
    """An app whose one process serves and works, through a broker."""

    engine: str
    broker: Any
    app: Flask = field(default_factory=lambda: Flask("shop"))
    later: Later = field(default_factory=Later)

    def __post_init__(self) -> None:
        self.app.config.update(
            LATER_ENGINE=self.engine, LATER_BROKER=self.broker, LATER_EMBEDDED=True
        )
        clock = SystemClock()
        self.app.extensions[PREPARED_KEY] = Prepared(clock, FarMemory(clock))

        @self.later.task(name="add")
        def add(a: int, b: int) -> int:
            return a + b

        self.add: Task[[int, int], int] = add
        self.later.init_app(self.app)

    @property
    def state(self) -> AppState:
        state: AppState = self.app.extensions["later"]
        return state

    def enqueue(self) -> str:
        with self.app.app_context():
            return self.add.enqueue(1, 2).id

    def state_of(self, job: str) -> JobState:
        with self.app.app_context():
            return self.later.job(job).state


MakeShop = Callable[[str, Any], Shop]


@pytest.fixture
def make_shop() -> Iterator[MakeShop]:
    with ExitStack() as stack:

        def make(engine: str, broker: Any) -> Shop:
            shop = Shop(engine, broker)
            stack.callback(shop.later.stop, shop.app)
            return shop

        yield make


def wait_until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.02)


def assert_refused(shop: Shop, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    """The job is stored, and the log and the doctor say why nothing is brought; not the password.

    What each process says of it, it says once.
    """
    caplog.set_level(logging.INFO)
    shop.later.start(shop.app)
    job = shop.enqueue()
    wait_until(lambda: "takes no hints from the broker" in caplog.text, lambda: caplog.text)
    assert shop.state_of(job) is JobState.QUEUED
    findings = [*shop.state.engine.examine()]
    assert [finding.level for finding in findings] == ["error"]
    assert "LATER_BROKER" in findings[0].advice
    assert reason in findings[0].text
    assert reason in caplog.text
    told = [each for each in caplog.records if "takes no hints" in each.message]
    assert len(told) <= shop.state.settings.threads
    for secret in (WRONG, RIGHT):
        assert secret not in caplog.text + str(findings) + repr(shop.state.parts)


@pytest.mark.parametrize("engine", ["celery", "rq"])
def test_a_redis_that_refuses_the_password(
    engine: str, make_shop: MakeShop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said; once the password is the right one, the job that waits runs."""
    with running_redis(tmp_path / "broker", password=RIGHT) as broker:
        url = f"redis://:{WRONG}@{HOST}:{broker.port}/0"
        shop = make_shop(engine, url)
        assert_refused(shop, caplog, "invalid username-password pair")
        job = shop.enqueue()
        with Client(host=HOST, port=broker.port, password=RIGHT) as admin:
            admin.config_set("requirepass", WRONG)
        wait_until(lambda: shop.state_of(job) is JobState.SUCCEEDED, lambda: caplog.text)
        assert "can be used again" in caplog.text
        # While there is a broker to take leave of.
        shop.later.stop(shop.app)


@pytest.mark.parametrize(
    ("who", "reason"), [(f"guest:{WRONG}@{{}}//", "403"), ("guest:guest@{}/elsewhere", "530")]
)
def test_a_rabbitmq_that_refuses(
    who: str,
    reason: str,
    make_shop: MakeShop,
    rabbitmq: RabbitMQ,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The password, or the virtual host."""
    broker = f"amqp://{who.format(f'{HOST}:{rabbitmq.port}')}"
    assert_refused(make_shop("celery", broker), caplog, reason)


@pytest.mark.parametrize(
    ("engine", "kind"), [("celery", "redis"), ("celery", "amqp"), ("rq", "redis")]
)
def test_a_broker_that_is_not_there_at_the_start(
    engine: str, kind: str, make_shop: MakeShop, caplog: pytest.LogCaptureFixture
) -> None:
    """The app starts, and takes jobs."""
    broker = f"{kind}://u:{WRONG}@{HOST}:{free_port()}/0"
    assert_refused(make_shop(engine, broker), caplog, "Connection refused")


def test_the_app_s_own_redis_is_not_closed(redis: Any) -> None:
    """Others use its connections, while a hint cannot be sent or the doctor looks."""
    with Client.from_url(redis.new_url()) as own:
        engine = RQEngine(own)
        with own.pubsub() as busy:
            busy.subscribe("news")
            busy.get_message(timeout=5.0)
            connection: Any = busy.connection
            engine.make_line().close()
            assert connection.is_connected


def test_a_queue_of_another_kind_leaves_no_connection_open(rabbitmq: RabbitMQ) -> None:
    """Somebody has declared it otherwise, so every try to send fails."""
    with Connection(rabbitmq.url) as connection:
        connection.default_channel.queue_declare("odd", durable=False, auto_delete=False)
    engine = CeleryEngine(rabbitmq.url, ["odd"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(Exception, match="inequivalent arg 'durable'"):
            engine.make_line()
        gc.collect()
    assert [each for each in caught if "socket" in str(each.message)] == []
