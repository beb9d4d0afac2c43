"""How the SQL store wakes those who wait in other processes, and finds jobs without sorting."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from tests import databases
from tests.services.conftest import Open, Start, output_of
from tests.shop import Shop

from flask_later.core.exchange import Claim, Handover, Succeeded, Want
from flask_later.core.job import FINISHED, JobState
from flask_later.core.store import DUE, WorkerRecord
from flask_later.stores import waiting
from flask_later.stores.ears import Ear
from flask_later.stores.peers import IDS
from flask_later.stores.sql import SQLStore, at_once, peers, tables
from flask_later.stores.sql.at_once import _ask as ask
from flask_later.stores.sql.claims import TAKE
from flask_later.testing.records import START, make_record

pytestmark = pytest.mark.services

PATIENCE = 20.0


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


class Sleeper:
    """A thread that waits in a store as a worker does."""

    def __init__(self, store: SQLStore, topics: Collection[str]) -> None:
        self._thread = threading.Thread(target=store.wait, args=(topics, 10 * PATIENCE))
        self._thread.start()
        wait_until(store._waiting.has_waiters)

    def has_woken(self) -> bool:
        self._thread.join(PATIENCE)
        return not self._thread.is_alive()


def announced(url: str) -> list[list[str]]:
    """What processes say that they listen for."""
    with databases.reached(url).connect() as db:
        return [json.loads(each) for each in db.execute(select(tables.listener.c.topics)).scalars()]


def test_a_job_wakes_who_waits_in_another_process(url: str, opened: Open) -> None:
    """For its queue; on MariaDB he has looked for himself."""
    there, here = opened(url), opened(url)
    sleeper = Sleeper(there, ["mail"])
    here.add([make_record(queue="mail")])
    here.wake(["mail"])
    assert sleeper.has_woken()


def test_the_end_of_a_job_wakes_who_waits_for_it(url: str, opened: Open) -> None:
    """As Job.wait does, in a process that does not run it."""
    there, here = opened(url), opened(url)
    record = make_record()
    here.add([record])
    here.register(WorkerRecord("w", "localhost", 1, START))
    (running,) = here.exchange("w", (), Want()).claimed
    sleeper = Sleeper(there, [record.id])
    here.exchange("w", [Succeeded(Claim(running.id, running.fence), "1")], Want(0))
    assert sleeper.has_woken()


@pytest.fixture
def postgresql() -> str:
    url = databases.url_of("postgresql")
    databases.empty(url)
    return url


@pytest.fixture
def ear(postgresql: str, opened: Open) -> Iterator[Ear]:
    """What another process hears, without looking at anything."""
    store = opened(postgresql)
    with closing(store._waiting._peers.ear()) as ear:
        ear.receive(0)
        yield ear


def test_only_what_somebody_waits_for_is_sent(postgresql: str, opened: Open, ear: Ear) -> None:
    """A lonely process notifies nobody."""
    there, here = opened(postgresql), opened(postgresql)
    here.wake(["mail"])
    assert list(ear.receive(0.05)) == []
    sleeper = Sleeper(there, ["mail"])
    wait_until(lambda: ["mail"] in announced(postgresql))
    # Others look once a second who listens.
    wait_until(lambda: [here.wake(["other", "mail"]), *ear.receive(0.05)][1:] == ["mail"])
    there.wake(())
    assert sleeper.has_woken()
    there.close()
    assert announced(postgresql) == []


def test_nobody_is_told_of_ends_for_long(
    postgresql: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once no thread waits for a job, others are spared the notifications."""
    store = opened(postgresql)
    (added,) = store.add([make_record()])
    store.wait([added.record.id], 0.01)
    assert announced(postgresql) == [[IDS]]
    monkeypatch.setattr(waiting, "_IDS_FOR", -1.0)
    store._waiting.tidy()
    assert announced(postgresql) == [[]]


def test_the_child_of_a_fork_wakes_its_parent(postgresql: str, start: Start) -> None:
    """And not the threads of its parent that it takes for its own."""
    assert output_of(start("forked_adder", postgresql)) == "woken"


def test_a_connection_that_was_cut_is_made_again(postgresql: str, opened: Open) -> None:
    """Who waits meanwhile looks for himself, and is notified once it is back."""
    there = opened(postgresql)
    sleeper = Sleeper(there, ["mail"])
    listening = text("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
    end = text("SELECT pg_terminate_backend(:pid)")
    with databases.administered(postgresql).connect() as db:
        wait_until(lambda: db.execute(listening).scalars().all())
        (before,) = db.execute(listening).scalars().all()
        db.execute(end, {"pid": before})
        wait_until(lambda: db.execute(listening).scalars().all() not in ([], [before]))
    there.add([make_record(queue="mail")])
    there.wake(["mail"])
    assert sleeper.has_woken()


def test_a_burst_is_told_in_few_words(
    postgresql: str, opened: Open, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has heard of a queue looks at it once more after a moment."""
    monkeypatch.setattr(peers, "QUIET", 1000.0)
    there, here = opened(postgresql), opened(postgresql)
    sleeper = Sleeper(there, ["mail"])
    wait_until(lambda: ["mail"] in announced(postgresql))
    wait_until(lambda: [here.wake(["mail"]), *ear.receive(0.05)][1:] == ["mail"])
    for _ in range(5):
        here.wake(["mail"])
    assert list(ear.receive(0.05)) == []
    monkeypatch.setattr(peers, "QUIET", 0.0)
    here.wake(["mail"])
    assert list(ear.receive(PATIENCE)) == ["mail"]
    there.wake(())
    assert sleeper.has_woken()


def test_a_job_that_others_have_locked_is_not_asked_for_on_and_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are about to claim it. If they do not after all, it is found."""
    asked: list[float] = []
    exchange = SQLStore.exchange

    def counted(store: SQLStore, worker: str, *what: Any) -> Handover:
        asked.append(time.monotonic())
        return exchange(store, worker, *what)

    monkeypatch.setattr(SQLStore, "exchange", counted)
    with Shop(STORE=url, THREADS=4) as shop:
        task = shop.later.task(name="nothing")(lambda: None)
        shop.run(task)
        with databases.reached(url).connect() as db:
            shop.store.add([make_record(task="nothing", run_at=datetime(2020, 1, 1, tzinfo=UTC))])
            (job_id,) = db.execute(
                select(tables.job.c.id).where(tables.job.c.state == "queued").with_for_update()
            ).scalars()
            asked.clear()
            shop.store.wake(["default"])
            time.sleep(1.0)
            # All threads would ask, a thousand times; one does now and then.
            assert 1 < len(asked) < 250
        wait_until(lambda: shop.store.get([job_id])[job_id].state in FINISHED)


def test_a_store_at_rest_is_calm(url: str, opened: Open) -> None:
    """Maintenance comes back late then, as long as nothing waits, runs or may expire."""
    store = opened(url)
    assert store.sweep(100, {}).calm
    store.add([make_record()])
    assert not store.sweep(100, {}).calm, "it waits for a worker"
    store.register(WorkerRecord("w", "localhost", 1, START))
    (running,) = store.exchange("w", (), Want(1)).claimed
    assert not store.sweep(100, {}).calm, "its worker may die"
    store.exchange("w", [Succeeded(Claim(running.id, running.fence), "1")], Want(0))
    assert store.sweep(100, {}).calm
    soon = datetime.now(UTC) + timedelta(hours=1)
    store.add([make_record(run_at=soon, state=JobState.SCHEDULED)])
    assert store.sweep(100, {}).calm, "when that falls due is told"
    store.add([make_record(run_at=soon, state=JobState.SCHEDULED, expires_at=soon)])
    assert not store.sweep(100, {}).calm, "it will expire"


def test_who_rests_is_woken_by_what_may_need_it(url: str, opened: Open) -> None:
    """And by nothing else: each of many idle processes beats."""
    store, other = opened(url), opened(url)
    assert store.sweep(100, {}).calm
    sleeper = Sleeper(store, [DUE])
    other.register(WorkerRecord("w", "localhost", 1, START))
    with looked_at(store) as looks:
        wait_until(lambda: len(looks) > 1)
    assert store._waiting.has_waiters()
    other.add([make_record()])
    assert sleeper.has_woken()


@contextmanager
def looked_at(store: SQLStore) -> Iterator[list[object]]:
    """Give what *store* was looked through for, meanwhile."""
    looks: list[object] = []
    find = store._waiting._find

    def spy(topics: Collection[str]) -> Collection[str]:
        looks.append(topics)
        return find(topics)

    store._waiting._find = spy
    try:
        yield looks
    finally:
        store._waiting._find = find


@dataclass
class Spy:
    """Sees what the driver is asked past SQLAlchemy."""

    asked: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)

    def ask(self, db: Connection, statement: str, values: Mapping[str, object]) -> Any:
        self.asked.append((statement, values))
        return ask(db, statement, values)


def plan_of(store: SQLStore, statement: str, values: Mapping[str, object]) -> str:
    """Return how the database does it, on a connection as the store's are."""
    with store._connections.writing() as db:
        rows = db.exec_driver_sql(f"EXPLAIN {statement}", dict(values)).all()
        db.rollback()
    return "\n".join(" ".join(map(str, row)) for row in rows)


def test_a_claim_reads_no_backlog(url: str, opened: Open) -> None:
    """By the index and in its order, although the statistics are of an empty table."""
    store = opened(url)
    store.add([make_record() for _ in range(2000)])
    with store._connections.writing() as db:
        statement = str(TAKE.compile(db))
    plan = plan_of(store, statement, {"queue": "default", "limit": 5})
    assert "later_job_ready" in plan
    assert "Sort" not in plan
    assert "filesort" not in plan


@pytest.mark.parametrize("queues", [None, ("default", "other")])
def test_what_is_done_at_once_reads_no_backlog(
    queues: tuple[str, ...] | None,
    postgresql: str,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time it looks at jobs it knows which, whatever the statistics say."""
    spy = Spy()
    monkeypatch.setattr(at_once, "_ask", spy.ask)
    store = opened(postgresql)
    store.register(WorkerRecord("w", "localhost", 1, START))
    store.add([make_record() for _ in range(2000)])
    (running,) = store.exchange("w", (), Want(1, queues)).claimed
    store.exchange("w", [Succeeded(Claim(running.id, running.fence), "1")], Want(8, queues))
    (statement, values) = spy.asked[-1]
    assert_reads_no_backlog(plan_of(store, statement, values))
    for statistics in ("ANALYZE later_job", "DELETE FROM later_job", "VACUUM ANALYZE later_job"):
        with store._connections.reading() as db:
            db.exec_driver_sql(statistics)
        assert_reads_no_backlog(plan_of(store, statement, values))


def assert_reads_no_backlog(plan: str) -> None:
    """It reads some rows of an index, or the first one."""
    lines = ["", *plan.splitlines(), ""]
    scans = [
        "Index Cond" in after or "Limit" in before
        for before, line, after in zip(lines, lines[1:], lines[2:], strict=False)
        if " on later_job" in line and "Update on" not in line
    ]
    assert len(scans) >= 4
    assert all(scans), plan
