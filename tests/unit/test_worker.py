"""The worker: which job it takes next, how it bounds one, and what it leaves at its end."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later import Job, JobState, Retry, StopReason, current_job, signals
from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import SystemClock
from flask_later.core.engine import Ran
from flask_later.core.exchange import NOTHING, Claim, Handover, Note, Outcome, Released, Want
from flask_later.core.job import Hint, JobRecord
from flask_later.errors import InvalidSettingError, StoreError
from flask_later.stores.memory import MemoryStore


@pytest.fixture
def before() -> set[threading.Thread]:
    """What ran before the test."""
    return {*threading.enumerate()}


def add(a: int, b: int = 1) -> int:
    return a + b


def take_down(shop: Shop) -> tuple[Any, list[object]]:
    """Return a task that notes what it is called with, and its notes."""
    order: list[object] = []
    return shop.later.task(name="note")(order.append), order


def told(shop: Shop, name: str) -> list[dict[str, Any]]:
    """Return what the signal called *name* tells of the app from now on."""
    facts: list[dict[str, Any]] = []

    def receive(sender: object, **given: Any) -> None:
        facts.append(given)

    getattr(signals, name).connect(receive, shop.app, weak=False)
    return facts


# Which job is next


def test_jobs_run_in_the_order_they_were_enqueued(manual: Shop) -> None:
    """Within a queue and a priority."""
    task, order = take_down(manual)
    for number in range(5):
        manual.enqueue(task, number)
    manual.work()
    assert order == [0, 1, 2, 3, 4]


def test_a_worker_tells_the_store_what_it_serves() -> None:
    """Its queues and its threads, so that others see which queue nobody takes from."""
    with Shop(THREADS=3, QUEUES=["mail", "default"]) as served:
        served.enqueue(served.later.task(name="add")(add), 1).wait(PATIENCE)
        (worker,) = served.state.store.workers()
    assert (worker.queues, worker.threads) == (("mail", "default"), 3)


def test_a_higher_priority_runs_first(manual: Shop) -> None:
    """Whatever was enqueued before it in the same minute."""
    task, order = take_down(manual)
    for priority in (0, -1, 100, 5):
        manual.enqueue(task.using(priority=priority), priority)
    manual.work()
    assert order == [100, 5, 0, -1]


def test_a_point_of_priority_is_worth_a_minute(manual: Shop) -> None:
    """So a job of low priority comes to its turn in the end."""
    task, order = take_down(manual)
    clock: Any = manual.state.clock
    manual.enqueue(task, "waits")
    clock.advance(59)
    manual.enqueue(task.using(priority=1), "first")
    clock.advance(2)
    manual.enqueue(task.using(priority=1), "last")
    manual.work()
    assert order == ["first", "waits", "last"]


def test_a_delayed_job_runs_when_its_time_has_come(shop: Shop) -> None:
    """By itself, and not before."""
    task, order = take_down(shop)
    job = shop.enqueue(task.using(delay=0.1), "late")
    before = shop.enqueue(task, "soon").wait(timeout=PATIENCE)
    after = job.wait(timeout=PATIENCE)
    assert order == ["soon", "late"]
    assert before.record.finished_at < job.run_at <= after.record.started_at  # type: ignore[operator]


def test_queues_are_emptied_in_their_order() -> None:
    """``LATER_QUEUES`` is strict: the second waits until the first is empty."""
    with Shop(MANUAL=True, QUEUES=["first", "second"]) as shop:
        task, order = take_down(shop)
        for queue in ("second", "first", "second", "first"):
            shop.enqueue(task.using(queue=queue, priority=100 if queue == "second" else 0), queue)
        shop.work()
    assert order == ["first", "first", "second", "second"]


def test_without_a_list_any_queue_is_served(shop: Shop) -> None:
    """Also one that nobody has named before."""
    task, order = take_down(shop)
    for queue in ("mail", "default", "brand-new"):
        shop.run(task.using(queue=queue), queue)
    assert order == ["mail", "default", "brand-new"]


def test_a_paused_queue_keeps_its_jobs(shop: Shop) -> None:
    """Others go on; resumed, it goes on as well, without another enqueue."""
    task, order = take_down(shop)
    with shop.app.app_context():
        shop.later.pause("mail")
    job = shop.enqueue(task.using(queue="mail"), "mail")
    shop.run(task, "default")
    assert job.refresh().state is JobState.QUEUED
    with shop.app.app_context():
        shop.later.resume("mail")
    assert job.wait(timeout=PATIENCE).state is JobState.SUCCEEDED
    assert order == ["default", "mail"]


@pytest.mark.parametrize("command", ["pause", "resume"])
@pytest.mark.parametrize("queue", ["a b", "", 5])
def test_only_a_queue_can_be_paused(manual: Shop, command: str, queue: Any) -> None:
    """A name that none can have is refused."""
    with manual.app.app_context(), pytest.raises(InvalidSettingError, match="queue"):
        getattr(manual.later, command)(queue)


def test_as_many_jobs_run_at_a_time_as_there_are_threads() -> None:
    """``LATER_THREADS`` of them meet."""
    meeting = threading.Barrier(3)
    with Shop(THREADS=3) as shop:
        task = shop.later.task(name="meet")(lambda: meeting.wait(PATIENCE) >= 0)
        jobs = [shop.enqueue(task) for _ in range(3)]
        assert [job.wait(timeout=PATIENCE).result for job in jobs] == [True] * 3


def test_a_hint_of_another_store_is_refused(manual: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Two stores share a broker: it is said loudly, but seldom, and nothing is claimed."""
    job = manual.enqueue(manual.later.task(add), 1)
    hint = Hint("another", "default", job.id, 0)
    for _ in range(20):
        assert manual.process.worker.run(hint) is Ran.REFUSED
    assert job.refresh().state is JobState.QUEUED
    assert caplog.text.count("a hint of store another was refused") == 5
    assert "(16 so far)" in caplog.text


def test_a_hint_names_the_queue_to_look_at_first(manual: Shop) -> None:
    """Its best job runs, not necessarily the one hinted at."""
    task, order = take_down(manual)
    manual.enqueue(task, "default")
    job = manual.enqueue(task.using(queue="mail"), "mail")
    assert manual.process.worker.run(Hint(manual.store.identity, "mail", job.id, 0)) is Ran.RAN
    assert order == ["mail"]


def test_a_worker_runs_one_job_or_as_many_as_it_may(manual: Shop) -> None:
    """``more`` is asked before each further claim."""
    task, order = take_down(manual)
    for number in range(5):
        manual.enqueue(task, number)
    worker = manual.process.worker
    assert (worker.run(), order) == (Ran.RAN, [0])
    assert worker.run(None, lambda: len(order) < 3) is Ran.RAN
    assert order == [0, 1, 2]
    assert worker.run(None, lambda: True) is Ran.RAN
    assert (worker.run(), order) == (Ran.EMPTY, [0, 1, 2, 3, 4])


def test_each_attempt_that_ends_is_counted(manual: Shop) -> None:
    """One by one, so that whoever waits for a number does not miss it."""
    task, _ = take_down(manual)
    for number in range(5):
        manual.enqueue(task, number)
    worker, counted = manual.process.worker, list[int]()
    worker.on_ended = counted.append
    assert worker.run(None, lambda: True) is Ran.RAN
    assert counted == [1, 2, 3, 4, 5]


# Timeouts


def test_an_attempt_that_takes_too_long_fails(shop: Shop) -> None:
    """Also one that never looks up; its thread is replaced, and the next job runs."""
    gate = shop.gate()
    task = shop.later.task(name="hang", timeout=0.05)(lambda: gate.wait(PATIENCE))
    job = shop.run(task)
    assert job.error is not None
    assert (job.state, job.error.type) == (JobState.FAILED, "TimeoutError")
    assert job.error.message == "The attempt took longer than its timeout of 0.05 s."
    assert shop.run(shop.later.task(add), 1).result == 2


def test_what_a_late_attempt_returns_is_dropped(before: set[threading.Thread], shop: Shop) -> None:
    """The job stays as it is: its attempt was fenced off, with all that it writes."""
    gate, ended = shop.gate(), threading.Event()

    @shop.later.task(timeout=0.05)
    def hang() -> str:
        gate.wait(PATIENCE)
        current_job.progress(1, 1, "too late")
        current_job.log("too late")
        ended.set()
        return "too late"

    job = shop.run(hang)
    gate.set()
    assert ended.wait(PATIENCE)
    until(lambda: replaced_have_ended(shop, before))
    after = job.refresh()
    assert (after.state, after.progress, after.log()) == (JobState.FAILED, None, [])


def replaced_have_ended(shop: Shop, before: set[threading.Thread]) -> bool:
    """Whether no more threads work than there should be."""
    new = {*threading.enumerate()} - before
    workers = [thread for thread in new if thread.name.startswith("later-worker")]
    return len(workers) <= shop.state.settings.threads


def test_an_attempt_learns_that_its_time_is_up(shop: Shop) -> None:
    """``current_job.cancelled`` turns true; ``track`` would end it."""
    seen: list[object] = []
    ended = threading.Event()

    @shop.later.task(timeout=0.05)
    def look() -> None:
        until(lambda: current_job.cancelled)
        seen.append(current_job.stop_reason)
        ended.set()

    shop.run(look)
    assert ended.wait(PATIENCE)
    assert seen == [StopReason.TIMEOUT]


def test_a_timeout_cancels_a_coroutine(shop: Shop) -> None:
    """At its ``await``; it may clean up."""
    cleaned = threading.Event()

    @shop.later.task(timeout=0.05)
    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.set()

    job = shop.run(hang)
    assert job.error is not None
    assert job.error.type == "TimeoutError"
    assert cleaned.wait(PATIENCE)


def test_a_timeout_is_a_failure_like_any(shop: Shop) -> None:
    """The task's retry decides; the next attempt does not wait for the first to end."""
    gate = shop.gate()

    @shop.later.task(timeout=0.05, retry=Retry(max_attempts=2, backoff=0))
    def hang_once() -> int:
        if current_job.attempt == 1:
            gate.wait(PATIENCE)
        return current_job.attempt

    job = shop.run(hang_once)
    assert (job.result, job.attempts, job.record.failures) == (2, 2, 1)


def test_a_job_may_have_more_time_than_its_task_says(shop: Shop) -> None:
    """``using(timeout=None)`` takes the bound away."""
    gate = shop.gate()
    task = shop.later.task(name="hang", timeout=0.05)(lambda: gate.wait(PATIENCE))
    slow = shop.enqueue(task.using(timeout=None))
    until(lambda: slow.refresh().state is JobState.RUNNING)
    timer = threading.Timer(0.2, gate.set)
    timer.start()
    assert slow.wait(timeout=PATIENCE).result is True


def test_no_more_threads_are_replaced_than_there_are(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Then the pool goes on with fewer and says so, in place of filling the memory."""
    gate = shop.gate()
    task = shop.later.task(name="hang", timeout=0.05)(lambda: gate.wait(PATIENCE))
    for _ in range(2):
        assert shop.run(task).state is JobState.FAILED
    until(lambda: "stuck threads were replaced and still run" in caplog.text)
    job = shop.enqueue(shop.later.task(add), 1)
    assert job.refresh().state is JobState.QUEUED
    assert [each.levelno for each in caplog.records].count(logging.CRITICAL) == 1


def test_a_replaced_thread_takes_no_more_jobs(before: set[threading.Thread]) -> None:
    """It ends with its function: there are never more at work than ``LATER_THREADS``."""
    with Shop(THREADS=2) as shop:
        gate = shop.gate()
        task = shop.later.task(name="hang", timeout=0.05)(lambda: gate.wait(PATIENCE))
        for _ in range(2):
            shop.run(task)
        gate.set()
        until(lambda: replaced_have_ended(shop, before))
        names = shop.later.task(name="name")(lambda: threading.current_thread().name)
        jobs = [shop.enqueue(names) for _ in range(50)]
        assert len({job.wait(timeout=PATIENCE).result for job in jobs}) <= 2


# What is taken away


def take_away(shop: Shop, job: Job[Any]) -> None:
    """Do as a process does that believes this worker dead."""
    claim = Claim(job.id, job.refresh().record.fence)
    assert shop.store.exchange("somebody", [Released(claim)], NOTHING).done == [claim]
    shop.store.wake([job.queue])


def test_an_outcome_that_comes_too_late_is_told(shop: Shop) -> None:
    """Another attempt owns the job: the first's result is dropped, the second's is kept."""
    gate, started = shop.gate(), threading.Event()
    dropped = told(shop, "outcome_dropped")

    @shop.later.task
    def build() -> int:
        started.set()
        gate.wait(PATIENCE)
        return current_job.fence

    job = shop.enqueue(build)
    assert started.wait(PATIENCE)
    take_away(shop, job)
    gate.set()
    done = job.wait(timeout=PATIENCE)
    assert done.result == done.record.fence > 1
    assert [facts["claim"].fence for facts in dropped] == [1]


def test_an_attempt_learns_that_it_is_lost(shop: Shop) -> None:
    """So that it does not go on with what another does already."""
    started = threading.Event()
    seen: list[object] = []

    @shop.later.task
    def build() -> None:
        if not seen:
            started.set()
            until(lambda: current_job.cancelled)
            seen.append(current_job.stop_reason)

    job = shop.enqueue(build)
    assert started.wait(PATIENCE)
    take_away(shop, job)
    assert job.wait(timeout=PATIENCE).state is JobState.SUCCEEDED
    assert seen == [StopReason.LOST]


# The end of the process


def test_a_stop_waits_for_what_runs(shop: Shop) -> None:
    """Nothing more is taken, and what was begun is finished."""
    gate, started = shop.gate(), threading.Event()

    def build() -> str:
        started.set()
        return str(gate.wait(PATIENCE))

    task = shop.later.task(build)
    running, waiting = shop.enqueue(task), shop.enqueue(task)
    assert started.wait(PATIENCE)
    threading.Timer(0.05, gate.set).start()
    shop.later.stop(shop.app, PATIENCE)
    assert running.refresh().result == "True"
    assert waiting.refresh().state is JobState.QUEUED
    assert shop.process.worker.run() is Ran.REFUSED


def test_a_stop_ends_jobs_that_look_up(shop: Shop) -> None:
    """``track`` is a shutdown point: the attempt is given back, and does not count."""
    released, stopped = told(shop, "job_released"), told(shop, "worker_stopped")
    started = threading.Event()

    @shop.later.task
    def build() -> None:
        for _ in current_job.track(iter(int, 1)):
            started.set()

    job = shop.enqueue(build)
    assert started.wait(PATIENCE)
    shop.later.stop(shop.app, PATIENCE)
    record = job.refresh().record
    assert (record.state, record.attempts, record.releases) == (JobState.QUEUED, 0, 1)
    assert [facts["job"].state for facts in released] == [JobState.QUEUED]
    assert [facts["worker"] for facts in stopped] == [shop.process.worker.id]


def test_a_stop_gives_back_what_is_stuck(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """At the end of its time: logged, told and counted, and whatever it writes is stale."""
    gate, started = shop.gate(), threading.Event()
    released, stopped = told(shop, "job_released"), told(shop, "worker_stopped")

    @shop.later.task(name="hang")
    def hang() -> None:
        started.set()
        gate.wait(PATIENCE)

    job = shop.enqueue(hang)
    assert started.wait(PATIENCE)
    shop.later.stop(shop.app, 0.05)
    record = job.refresh().record
    assert (record.state, record.attempts, record.fence) == (JobState.QUEUED, 0, 2)
    assert [facts["job"].id for facts in released] == [job.id]
    assert (stopped[0]["released"], stopped[0]["lost"]) == (1, 1)
    assert f"job {job.id} (hang) still runs while its process ends" in caplog.text


def test_jobs_that_end_with_the_memory_are_counted(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost silently."""
    stopped = told(shop, "worker_stopped")
    task = shop.later.task(add)
    shop.run(task, 1)
    shop.enqueue(task.using(delay=60), 1)
    shop.enqueue(task.using(delay=60), 2)
    shop.later.stop(shop.app, PATIENCE)
    assert stopped[0]["lost"] == 2
    assert "jobs are lost with the memory store of this process: 2." in caplog.text
    assert "LATER_STORE = 'sqlite:///later.sqlite3'" in caplog.text


def test_a_stop_does_not_cancel_a_coroutine(shop: Shop) -> None:
    """It may finish until the process ends; it can look for itself."""
    started, gate = threading.Event(), shop.gate()

    @shop.later.task
    async def build() -> str:
        started.set()
        await asyncio.to_thread(gate.wait, PATIENCE)
        return str(current_job.stop_reason)

    job = shop.enqueue(build)
    assert started.wait(PATIENCE)
    threading.Timer(0.05, gate.set).start()
    shop.later.stop(shop.app, PATIENCE)
    assert job.refresh().result == "shutdown"


# A store that does not answer


class MoodyStore(MemoryStore):
    """Does not answer to exchanges that *refuse* holds for, as often as *moods* says."""

    moods = 0
    asked = 0
    deaf = False

    def __init__(self, refuse: Callable[[Sequence[Outcome], Want], bool]) -> None:
        super().__init__(SystemClock())
        self.refuse = refuse

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        if self.refuse(outcomes, want):
            self.asked += 1
            if self.moods:
                self.moods -= 1
                raise StoreError("the disk is full")
        return super().exchange(worker, outcomes, want)

    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        if self.deaf:
            raise StoreError("the disk is full")
        return super().note(worker, holding, notes)


@pytest.fixture
def moody(shop: Shop) -> Callable[..., MoodyStore]:
    """Give the shop a moody store, and start it."""

    def make(refuse: Callable[[Sequence[Outcome], Want], bool]) -> MoodyStore:
        app, store = shop.make_app(), MoodyStore(refuse)
        app.extensions[PREPARED_KEY] = Prepared(store=store)
        shop.__dict__["app"] = app
        shop.later.start(app)
        return store

    return make


def test_an_outcome_is_kept_until_the_store_takes_it(
    shop: Shop, moody: Callable[..., MoodyStore], caplog: pytest.LogCaptureFixture
) -> None:
    """The function is not run again; the log says what is going on."""
    store = moody(lambda outcomes, want: bool(outcomes))
    store.moods = 2
    task, order = take_down(shop)
    shop.run(task, "once")
    assert order == ["once"]
    assert "an outcome could not be stored, trying again" in caplog.text


def test_a_store_that_hands_out_nothing_is_asked_again_in_a_while(
    shop: Shop, moody: Callable[..., MoodyStore], caplog: pytest.LogCaptureFixture
) -> None:
    """With pauses that grow, so that neither the store nor the log is flooded."""
    store = moody(lambda outcomes, want: bool(want.limit))
    job = shop.enqueue(shop.later.task(add), 1)
    job.wait(timeout=PATIENCE)
    store.asked, store.moods = 0, 10**9
    job = shop.enqueue(shop.later.task(add), 1)
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.4)
    assert 1 <= store.asked <= 10
    store.moods = 0
    assert job.wait(timeout=PATIENCE).result == 2
    assert "the store does not answer" in caplog.text


def test_who_does_nothing_loses_no_progress(
    shop: Shop, moody: Callable[..., MoodyStore], caplog: pytest.LogCaptureFixture
) -> None:
    """A beat that fails is told, and no more than that."""
    store = moody(lambda outcomes, want: False)
    store.deaf = True
    until(lambda: "the store does not answer. the disk is full" in caplog.text)
    assert "progress" not in caplog.text


# What is told


def test_the_start_of_a_worker_is_told() -> None:
    """Once for each process, with its id."""
    with Shop() as shop:
        app = shop.make_app()
        started: list[str] = []

        def receive(sender: object, worker: str, **_: object) -> None:
            started.append(worker)

        signals.worker_started.connect(receive, app)
        shop.__dict__["app"] = app
        shop.later.start(app)
        shop.later.start(app)
        assert started == [shop.process.worker.id]


def test_a_running_job_names_its_worker(shop: Shop) -> None:
    """Whoever looks at the store sees who has it in hand."""
    gate = shop.gate()
    job = shop.enqueue(shop.later.task(name="wait")(lambda: gate.wait(PATIENCE)))
    until(lambda: job.refresh().state is JobState.RUNNING)
    record: JobRecord = job.refresh().record
    assert record.worker == shop.process.worker.id
    assert record.started_at is not None
