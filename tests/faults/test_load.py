"""Faults 96 to 113: tasks that hurt, and more of everything than there should be."""

from __future__ import annotations

import math
import random
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later import Job, JobState, Retry, current_job
from flask_later.core.clock import SystemClock
from flask_later.core.exchange import NOTHING, Again, Cancelled, Claim, Outcome, Succeeded, Want
from flask_later.core.job import PENDING, Cancel
from flask_later.core.store import MAX_PAGE, JobFilter, Store, WorkerRecord
from flask_later.errors import (
    InvalidTransitionError,
    NotSerializableError,
    PayloadTooLargeError,
    QueueFullError,
)
from flask_later.stores.memory import MemoryStore
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

from .scene import Scene

SOON = 0.1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "later.sqlite3"


@pytest.fixture
def shop(path: Path) -> Iterator[Shop]:
    with Shop(STORE=f"sqlite:///{path}", THREADS=1) as shop:
        yield shop


def workers() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("later-worker")}


@pytest.fixture
def before() -> set[threading.Thread]:
    """What other tests have left."""
    return workers()


def add(a: int, b: int = 1) -> int:
    return a + b


# Tasks that do not end


def loop(gate: threading.Event) -> None:
    """Computes, and never looks up."""
    while not gate.is_set():
        pass


def sleep(gate: threading.Event) -> None:
    """Waits in C."""
    gate.wait(PATIENCE)


def swallow(gate: threading.Event) -> None:
    """Is asked to stop, and does not care."""
    while not gate.is_set():
        with suppress(BaseException):
            current_job.checkpoint()
            raise SystemExit


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(loop, id="f96"),
        pytest.param(sleep, id="f97"),
        pytest.param(swallow, id="f98"),
    ],
)
def test_g96_g97_g98_an_attempt_without_end_is_taken_away(
    before: set[threading.Thread], shop: Shop, body: Callable[[threading.Event], None]
) -> None:
    """At its timeout, for good: another thread does the work, and what it writes is dropped."""
    gate, ended = shop.gate(), threading.Event()

    def hang() -> str:
        body(gate)
        current_job.log("too late")
        ended.set()
        return "too late"

    job = shop.run(shop.later.task(name="hang", timeout=SOON)(hang))
    assert job.error is not None
    assert (job.state, job.error.type) == (JobState.FAILED, "TimeoutError")
    assert [shop.run(shop.later.task(add), number).result for number in range(3)] == [1, 2, 3]
    gate.set()
    assert ended.wait(PATIENCE)
    until(lambda: len([each for each in workers() if each not in before]) == 1)
    assert (job.refresh().state, job.refresh().log()) == (JobState.FAILED, [])


def test_g99_a_task_that_holds_the_interpreter_is_not_taken_for_dead(scene: Scene) -> None:
    """Its process cannot even beat, for longer than a death is missed; its lock speaks for it."""
    holder = scene.worker(threads=1)
    scene.producer(1, 1.2 * SQLiteStore.rescue_after, task="seize").finish()
    [began] = scene.events.wait_for("start")
    assert began.pid == holder.pid
    other = scene.worker(threads=1)
    [ended] = scene.events.wait_for("end")
    assert ended["fence"] == 1
    assert ended.at - began.at > SQLiteStore.rescue_after
    scene.wait_until_done()
    assert scene.rows("SELECT state, attempts, crashes FROM job") == [("succeeded", 1, 0)]
    scene.judge().assert_held(duplicates=0)
    assert holder.runs
    assert other.runs


# Memory


def test_g101_what_is_finished_is_not_kept_in_memory() -> None:
    """Neither handles nor results nor attempts: ten thousand jobs weigh as much as a thousand."""

    def run(shop: Shop, times: int) -> int:
        for number in range(times):
            shop.enqueue(task, number)
            assert shop.work() == 1
        shop.process.maintenance.look()
        return tracemalloc.get_traced_memory()[0]

    with Shop(MANUAL=True, MAX_FINISHED=100) as shop:
        task = shop.later.task(add)
        run(shop, 600)
        tracemalloc.start()
        try:
            first = run(shop, 600)
            later = run(shop, 6_000)
        finally:
            tracemalloc.stop()
    assert later - first < 1_000_000


def test_g102_a_backlog_has_its_bound(path: Path) -> None:
    """The caller is told at once; what a worker took makes room."""
    with Shop(STORE=f"sqlite:///{path}", MANUAL=True, MAX_PENDING=20) as shop:
        task = shop.later.task(add)
        for number in range(20):
            shop.enqueue(task, number)
        with pytest.raises(QueueFullError):
            shop.enqueue(task.using(delay=60), 20)
        assert shop.process.worker.run()
        shop.enqueue(task.using(delay=60), 20)


# Values


@pytest.fixture
def locked(shop: Shop, path: Path) -> Iterator[Shop]:
    """Whoever writes now has to wait, and is refused."""
    assert shop.app
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield shop
        other.execute("ROLLBACK")


def test_g103_huge_arguments_are_refused_before_the_file_is_asked(locked: Shop) -> None:
    """So that they cost neither a lock nor a write."""
    task = locked.later.task(add)
    with pytest.raises(PayloadTooLargeError, match="limit is 262,144"):
        locked.enqueue(task, "x" * 2_000_000)


def test_g104_a_huge_result_fails_its_job_once(shop: Shop) -> None:
    """The work is done, so it is not done again; the text does not reach the file."""
    effects: list[int] = []

    @shop.later.task(retry=Retry(max_attempts=3, backoff=0))
    def give() -> str:
        effects.append(1)
        return "x" * 50_000_000

    job = shop.run(give)
    assert job.error is not None
    assert (job.error.type, job.attempts, len(effects)) == ("PayloadTooLargeError", 1, 1)
    assert job.record.result is None


@pytest.mark.parametrize(
    "value",
    [
        math.inf,
        -math.inf,
        2**70,
        -(2**4_000),
        "\ud800",
        "a\0b",
        (1, (2,)),
        {1: 2, "1": 3},
        {"$tag": 1},
        {1, 2},
        frozenset({"a"}),
        b"\xff\0",
        Decimal("1.10"),
        datetime(2026, 10, 25, 2, 30, tzinfo=UTC),
        timedelta(microseconds=1),
    ],
    ids=repr,
)
def test_g105_a_hard_value_comes_back_as_it_was(shop: Shop, value: object) -> None:
    """Through the file, as an argument and as a result: equal, and of the same type."""
    task = shop.later.task(name="echo")(lambda given: given)
    result = shop.run(task, value).result
    assert (result, type(result)) == (value, type(value))


def test_g105_nan_comes_back_as_nan(shop: Shop) -> None:
    """Neither as None, nor as text that no other program reads."""
    result = shop.run(shop.later.task(name="echo")(lambda given: given), math.nan).result
    assert math.isnan(result)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [nested(100_000), object(), [lambda: None], {"a": [1, open]}])
def test_g105_what_would_not_come_back_is_refused_by_its_name(locked: Shop, value: object) -> None:
    """At the enqueue, before the file is asked."""
    with pytest.raises(NotSerializableError, match="argument 'a'"):
        locked.enqueue(locked.later.task(add), value)


# More and more of it


def test_g106_a_storm_of_enqueues_stops_at_the_bound(path: Path) -> None:
    """A queue that comes before gets its turn, and the storm can be paused."""
    limit = 50
    with Shop(
        STORE=f"sqlite:///{path}", THREADS=2, MAX_PENDING=limit, QUEUES=["urgent", "storm"]
    ) as shop:
        failed: list[str] = []

        @shop.later.task(queue="storm")
        def double() -> None:
            try:
                double.enqueue()
                double.enqueue()
            except QueueFullError:
                failed.append(current_job.id)
                raise

        first = shop.enqueue(double)
        until(lambda: len(failed) >= 20)
        urgent = enqueue_in_spite(shop, shop.later.task(add, queue="urgent"))
        assert urgent.wait(timeout=PATIENCE).result == 2
        assert never_taken(shop) <= limit
        with shop.app.app_context():
            shop.later.pause("storm")
        until(lambda: not counts(shop)[JobState.RUNNING])
        assert never_taken(shop) <= limit
        assert first.refresh().state is JobState.SUCCEEDED
        job = shop.store.get(failed[:1])[failed[0]]
        assert job.error is not None
        assert job.error.type == "QueueFullError"


def never_taken(shop: Shop) -> int:
    """How many wait. Those that a worker had taken and gave back come on top: none is refused."""
    waiting = shop.store.find(JobFilter(PENDING), limit=MAX_PAGE).records
    return sum(not job.fence for job in waiting)


def enqueue_in_spite(shop: Shop, task: Any) -> Job[Any]:
    """Enqueue as soon as a worker has made room, before the storm fills it again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return shop.enqueue(task, 1)
        except QueueFullError:
            assert time.monotonic() < deadline


def counts(shop: Shop) -> Counter[JobState]:
    total: Counter[JobState] = Counter()
    for queue in shop.store.stats():
        total.update(queue.counts)
    return total


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_g110_jobs_that_fail_together_do_not_come_back_together(failures: int) -> None:
    """Their pauses fill the whole window evenly: of 10,000 none of its seconds has 5 %."""
    rng, retry = random.Random(7), Retry(max_attempts=10, backoff=60)
    window = 60 * 2 ** (failures - 1)
    delays = [retry.delay_after(failures, ValueError(), rng) or 0.0 for _ in range(10_000)]
    assert max(Counter(map(int, delays)).values()) < 500
    assert max(delays) > window * 0.99
    assert min(delays) < window * 0.01


WRITE = """
import sys, threading
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()

def write():
    for _ in range(50):
        [added] = store.add([make_record()])
        print(added.record.id + "\\n", end="", flush=True)

threads = [threading.Thread(target=write) for _ in range(4)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
store.close()
"""


def test_g112_sixteen_writers_are_all_served(path: Path) -> None:
    """Four threads of four processes: none is refused, and all that was answered is stored."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", WRITE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    answered: list[str] = []
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        output, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, "")
        answered += output.split()
    with closing(sqlite3.connect(path)) as file:
        stored = [job_id for (job_id,) in file.execute("SELECT id FROM job")]
    assert len(answered) == 16 * 50
    assert sorted(answered) == sorted(stored)


# Two at a time


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[Store]:
    clock = SystemClock()
    store = SQLiteStore(path, clock) if request.param == "sqlite" else MemoryStore(clock)
    store.open()
    store.register(WorkerRecord("w", "localhost", 1, datetime.now(UTC)))
    yield store
    store.close()


def ending(kind: type[Outcome], claim: Claim) -> Outcome:
    if kind is Succeeded:
        return Succeeded(claim, "1")
    return Again(claim, datetime.now(UTC)) if kind is Again else Cancelled(claim)


@pytest.mark.parametrize("kind", [Succeeded, Again, Cancelled])
def test_g113_a_cancel_and_a_finish_meet(store: Store, kind: type[Outcome]) -> None:
    """In whatever order: one end, and both callers are told what has happened."""
    both, orders = threading.Barrier(2, timeout=PATIENCE), Counter[str]()
    answers: list[object] = []

    def finish(claim: Claim) -> None:
        both.wait()
        answers.append(store.exchange("w", [ending(kind, claim)], NOTHING).done)

    for _ in range(150):
        answers.clear()
        store.add([make_record()])
        (running,) = store.exchange("w", (), Want(1)).claimed
        claim = Claim(running.id, running.fence)
        finisher = threading.Thread(target=finish, args=(claim,))
        finisher.start()
        both.wait()
        orders[told_of_cancel(store, running.id)] += 1
        finisher.join(PATIENCE)
        assert answers == [[claim]]
        end = store.get([running.id])[running.id]
        assert end.state is (JobState.SUCCEEDED if kind is Succeeded else JobState.CANCELLED)
        assert end.finished_at is not None
        assert (end.stop, end.worker, end.fence) == (None, None, claim.fence)
    # It was asked to stop, or was over, or had begun to wait again and was cancelled there.
    ended = {"cancelled"} if kind is Again else {end.state.value}
    assert orders.keys() <= {"running", *ended}


def told_of_cancel(store: Store, job_id: str) -> str:
    """The state of the job that the caller is told."""
    try:
        return store.command(job_id, Cancel()).state.value
    except InvalidTransitionError as error:
        return error.state


def test_g113_a_job_is_cancelled_as_it_returns(shop: Shop) -> None:
    """Its handle says which of the two came first, and it stays so."""
    task = shop.later.task(name="work")(lambda: [*current_job.track(range(3))])
    ends: Counter[JobState] = Counter()
    for number in range(60):
        job = shop.enqueue(task)
        if number % 2:
            until(lambda job=job: job.refresh().state is not JobState.QUEUED)
        with suppress(InvalidTransitionError):
            job.cancel()
        end = job.wait(timeout=PATIENCE)
        ends[end.state] += 1
        assert end.refresh().record == end.record
    assert ends.keys() <= {JobState.SUCCEEDED, JobState.CANCELLED}
