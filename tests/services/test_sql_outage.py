"""The SQL store when its database goes away and comes back, and two hosts that work on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest
from sqlalchemy import text
from tests import databases
from tests.services.conftest import Open, Start, output_of, read_line
from tests.shop import Shop

from flask_later.core.job import JobState
from flask_later.core.payload import dump_call
from flask_later.core.store import JobFilter, Swept
from flask_later.errors import StoreDeniedError, StoreReadOnlyError, StoreUnavailableError
from flask_later.stores.sql import SQLStore
from flask_later.testing.records import make_record

pytestmark = pytest.mark.services

PATIENCE = 60.0
#: The loggers of what is done to jobs by time alone.
UPKEEP = ("flask_later.stores.upkeep", "flask_later.runtime.maintenance")


@pytest.fixture
def server(kind: str) -> Iterator[databases.DatabaseServer]:
    """A server that this test may kill."""
    with ExitStack() as stack:
        server = databases.start(kind)
        stack.callback(server.close)
        yield server


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_two_hosts_share_the_work_through_a_restart_of_the_database(
    server: databases.DatabaseServer, start: Start, opened: Open
) -> None:
    """Every job succeeds, none runs twice, and what is enqueued meanwhile is stored or refused."""
    store = opened(server.url)
    hosts = [start("host", server.url, name) for name in ("a", "b")]
    for host in hosts:
        assert read_line(host) == "ready"
    stored = 0
    refusals: list[StoreUnavailableError] = []

    def enqueue(number: int) -> None:
        nonlocal stored
        for each in range(number):
            payload = dump_call(
                (each, 0.02), {}, task="note", names=("number", "seconds"), max_bytes=1000
            )
            record = make_record(task="note", payload=payload)
            try:
                store.add([record])
            except StoreUnavailableError as error:
                refusals.append(error)
            else:
                stored += 1
                store.wake(["default"])

    def succeeded() -> int:
        wanted = JobFilter(frozenset({JobState.SUCCEEDED}))
        return len(store.find(wanted, limit=1000).records)

    enqueue(60)
    wait_until(lambda: succeeded() > 10)
    server.kill()
    enqueue(1)
    assert [error.uncertain for error in refusals] == [False]
    server.start()
    enqueue(60)
    wait_until(lambda: succeeded() == stored)
    records = store.find(limit=1000).records
    assert {record.attempts for record in records} == {1}
    assert {str(record.result)[1] for record in records} == {"a", "b"}
    for host in hosts:
        assert host.stdin is not None
        host.stdin.write("stop\n")
        output_of(host)


def test_a_connection_that_died_while_nobody_used_it_is_replaced(
    server: databases.DatabaseServer, opened: Open
) -> None:
    """Nobody notices that the database was started anew."""
    store = opened(server.url)
    store.add([make_record()])
    server.restart()
    store.add([make_record()])
    server.restart()
    assert len(store.find().records) == 2


def test_a_database_that_stays_away_is_an_error_that_says_so(
    server: databases.DatabaseServer, opened: Open
) -> None:
    """After two seconds, with where it should be, and nothing was stored."""
    store = opened(server.url)
    server.kill()
    with pytest.raises(StoreUnavailableError) as error:
        store.add([make_record()])
    assert not error.value.uncertain
    assert f"127.0.0.1:{server.port}/later" in str(error.value)
    assert databases.PASSWORD not in str(error.value)
    server.start()
    assert list(store.find().records) == []


def test_a_user_who_may_not_is_told_at_once(kind: str, opened: Open) -> None:
    """With the word of the server, and without the password."""
    url = databases.url_of(kind).replace("//later:", "//nobody:")
    with pytest.raises(StoreDeniedError) as error:
        opened(url)
    assert "nobody" in str(error.value)
    assert databases.PASSWORD not in repr(error.value.args) + str(error.value)


def test_a_database_that_does_not_exist_is_told_at_once(kind: str, opened: Open) -> None:
    """It is not ours to make."""
    url = databases.url_of(kind).replace("/later", "/elsewhere")
    with pytest.raises(StoreDeniedError, match="elsewhere"):
        opened(url)


def test_what_cannot_be_written_is_not_tried_on_and_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A job is due, and the step that would queue it fails each time; that is said once."""
    sweeps: list[float] = []
    sweep = SQLStore.sweep

    def counted(store: SQLStore, budget: int, known: Mapping[str, str]) -> Swept:
        sweeps.append(time.monotonic())
        return sweep(store, budget, known)

    with databases.fresh("postgresql") as url, Shop(STORE=url) as shop:
        task = shop.later.task(name="later")(lambda: None)
        with shop.app.app_context():
            task.using(delay=3.0).enqueue()
        with databases.administered(url).connect() as db:
            name = url.rpartition("/")[2]
            db.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            db.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = :name AND pid <> pg_backend_pid()"
                ),
                {"name": name},
            )
        wait_until(lambda: "stage failed" in caplog.text)
        monkeypatch.setattr(SQLStore, "sweep", counted)
        wait_until(lambda: len(sweeps) > 2)
        assert sweeps[2] - sweeps[0] > 1.0
    failed = [each for each in caplog.records if "stage failed" in each.getMessage()]
    assert len(failed) == 1
    ours = [each for each in caplog.records if each.name in UPKEEP]
    assert not any(each.exc_info for each in ours), "its trouble is known"


def test_a_standby_takes_no_jobs(opened: Open) -> None:
    """And says why. (Of MariaDB only whole servers are read-only.)"""
    with databases.fresh("postgresql") as url:
        opened(url).close()
        with databases.administered(url).connect() as db:
            name = url.rpartition("/")[2]
            db.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        store = opened(url)
        with pytest.raises(StoreReadOnlyError, match="LATER_STORE"):
            store.add([make_record()])
        [found] = [each for each in store.examine() if each.level == "error"]
        assert "cannot be written to" in found.text
        store.close()
