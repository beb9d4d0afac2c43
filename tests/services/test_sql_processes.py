"""The SQL store among processes: many that start at once, that share, that die, that fork."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import update
from tests import databases
from tests.services.conftest import Open, Start, go, output_of, read_line

from flask_later.core.exchange import Claim, Succeeded, Want
from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import LEASE, Limits, WorkerRecord
from flask_later.stores.sql import SQLStore, tables
from flask_later.stores.sql.jobs import Jobs
from flask_later.testing.records import START, make_record

pytestmark = pytest.mark.services

PATIENCE = 20.0


@pytest.fixture
def nothing(kind: str) -> Iterator[str]:
    """A database without our tables."""
    with databases.fresh(kind) as url:
        yield url


def test_many_processes_start_at_once_on_an_empty_database(
    nothing: str, start: Start, opened: Open
) -> None:
    """One makes the tables; all see the same store."""
    processes = [start("adder", nothing) for _ in range(6)]
    go(processes)
    names = {output_of(process) for process in processes}
    store = opened(nothing)
    assert names == {store.identity}
    assert len(store.find(limit=1000).records) == 60
    store.close()


def test_eight_processes_run_each_job_once(url: str, start: Start, opened: Open) -> None:
    """And all of them are settled."""
    store = opened(url)
    ids = {added.record.id for added in store.add([make_record() for _ in range(2000)])}
    processes = [start("claimer", url, f"w{number}") for number in range(8)]
    go(processes)
    ran = Counter(job_id for process in processes for job_id in output_of(process).split())
    assert ran == Counter(ids)
    (stats,) = store.stats()
    assert dict(stats.counts) == {JobState.SUCCEEDED: 2000}


def test_processes_that_want_the_same_unique_keys_get_each_once(
    url: str, start: Start, opened: Open
) -> None:
    """Although they ask for them in opposite orders, at the same time."""
    number = 100
    processes = [start("rival", url, number, order) for order in (1, -1, 1)]
    go(processes)
    got = Counter(key for process in processes for key in output_of(process).split())
    assert got == Counter(f"key-{each}" for each in range(number + 1))
    assert len(opened(url).find(limit=1000).records) == number + 1


def test_the_limit_is_exact_among_processes(url: str, start: Start, opened: Open) -> None:
    """As many are stored as may wait, whoever adds them."""
    processes = [start("filler", url, 150) for _ in range(4)]
    go(processes)
    assert sum(int(output_of(process)) for process in processes) == 150
    (stats,) = opened(url).stats()
    assert dict(stats.counts) == {JobState.QUEUED: 150}


def let_lease_run_out(url: str, worker: str) -> None:
    """Let the last beat of *worker* be as long ago as a lease is, without waiting for that."""
    earlier = tables.worker.c.beat_at - int((LEASE + 1) * 1e6)
    with databases.reached(url).begin() as db:
        changed = db.execute(
            update(tables.worker).where(tables.worker.c.id == worker).values(beat_at=earlier)
        )
        assert changed.rowcount == 1


def test_the_job_of_a_killed_worker_runs_again_after_its_lease(
    url: str, start: Start, opened: Open
) -> None:
    """Not before, and what the dead one still had to say is stale."""
    store = opened(url)
    store.add([make_record()])
    victim = start("holder", url)
    job_id = read_line(victim)
    victim.kill()
    victim.wait(PATIENCE)
    assert store.sweep(100, {}).rescued == 0

    let_lease_run_out(url, "victim")
    (crashed,) = store.sweep(100, {}).crashed
    assert (crashed.id, crashed.crashes, crashed.state) == (job_id, 1, JobState.QUEUED)
    assert list(store.workers()) == []
    store.register(WorkerRecord("heir", "localhost", 2, START))
    (again,) = store.exchange("heir", (), Want(1)).claimed
    late = store.exchange("victim", [Succeeded(Claim(job_id, 1), '"late"')], Want(0))
    assert list(late.stale) == [Claim(job_id, 1)]
    done = store.exchange("heir", [Succeeded(Claim(again.id, again.fence), '"heir"')], Want(0))
    assert list(done.done) == [Claim(job_id, 3)]
    assert store.get([job_id])[job_id].result == '"heir"'


def test_a_fork_with_connections_in_use_harms_neither(url: str, start: Start) -> None:
    """The child makes its own, and its end does not end those of the parent."""
    output_of(start("forker", url))


def in_two_steps(
    store: SQLStore, first: str, second: str, meeting: threading.Barrier, calls: list[str]
) -> None:
    """Change two jobs in this order; at the first try, when another thread has the other one."""

    def step(jobs: Jobs) -> None:
        calls.append(first)
        for job_id in (first, second):
            record = jobs.load(job_id, locked=True)
            assert record is not None
            jobs.save(record, record._replace(releases=record.releases + 1))
            if job_id == first and calls.count(first) == 1:
                meeting.wait(PATIENCE)

    store._transactions.write(step)


def test_a_deadlock_is_survived(url: str, opened: Open) -> None:
    """The database ends one of the transactions; it is tried again, as a whole."""
    store = opened(url)
    one, other = (added.record.id for added in store.add([make_record(), make_record()]))
    meeting, calls = threading.Barrier(2), list[str]()
    threads = [
        threading.Thread(target=in_two_steps, args=(store, *order, meeting, calls))
        for order in ((one, other), (other, one))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(calls) >= 3, "nobody was in the way of anybody"
    assert [record.releases for record in store.get([one, other]).values()] == [2, 2]


def test_the_tally_is_put_right(url: str, opened: Open) -> None:
    """Somebody has deleted jobs by hand, so that the store seems to be full."""
    store = opened(url, limits=Limits(max_pending=10))
    store.add([make_record() for _ in range(10)])
    with databases.reached(url).begin() as db:
        db.execute(tables.job.delete())
    assert all(added.created for added in store.add([make_record() for _ in range(10)]))


def record_of(store: SQLStore, job_id: str) -> JobRecord:
    return store.get([job_id])[job_id]


def test_two_that_add_the_same_job_store_it_once(url: str, opened: Open) -> None:
    """A request that is repeated while its first try is still on its way."""
    store = opened(url)
    record = make_record()
    answers: list[bool] = []
    meeting = threading.Barrier(4)

    def add() -> None:
        meeting.wait(PATIENCE)
        answers.append(store.add([record])[0].created)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(answers) == [False, False, False, True]
    assert record_of(store, record.id) == record
