"""``current_job``: what a task tells and asks, in a job and outside of one."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later import JobState, JobStopped, Later, Retry, StopReason, current_job, signals
from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import VirtualClock
from flask_later.core.job import Progress
from flask_later.core.store import Limits
from flask_later.errors import InvalidSettingError
from flask_later.stores.memory import MemoryStore


def add(a: int, b: int = 1) -> int:
    return a + b


# Outside of a job


def test_outside_of_a_job_it_is_detached() -> None:
    """It has no id, and is never asked to stop."""
    assert current_job.is_detached
    assert (current_job.id, current_job.task, current_job.attempt) == ("", "", 1)
    assert (current_job.cancelled, current_job.stop_reason) == (False, None)
    assert (current_job.scheduled_at, current_job.fence) == (None, 0)


def test_a_task_that_is_called_may_use_it(caplog: pytest.LogCaptureFixture) -> None:
    """Progress goes nowhere, log lines go to the log alone."""
    caplog.set_level(logging.INFO)

    @Later().task
    def build() -> list[int]:
        current_job.progress(1, 2, "half")
        current_job.log("a line")
        current_job.checkpoint()
        return list(current_job.track([1, 2, 3]))

    assert build() == [1, 2, 3]
    assert "a line" in caplog.messages
    assert current_job.take_note() is None


def test_a_task_that_a_job_calls_is_part_of_that_job(shop: Shop) -> None:
    """Calling is calling: no other job, and the same ``current_job``."""

    @shop.later.task
    def inner() -> str:
        return current_job.id

    @shop.later.task
    def outer() -> list[str]:
        return [current_job.id, inner()]

    job = shop.run(outer)
    assert job.result == [job.id, job.id]


def test_a_thread_of_the_tasks_own_is_outside(shop: Shop) -> None:
    """As with Flask's contexts: it does not cross over by itself."""

    @shop.later.task
    def start_thread() -> list[bool]:
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(current_job.is_detached))
        thread.start()
        thread.join(PATIENCE)
        return seen

    assert shop.run(start_thread).result == [True]


# What it knows


def test_a_job_knows_itself(shop: Shop) -> None:
    """Id, task, queue, attempt and fence are those of its record."""

    @shop.later.task(queue="mail", name="shop.look")
    def look() -> list[object]:
        return [
            current_job.id,
            current_job.task,
            current_job.queue,
            current_job.attempt,
            current_job.fence,
            current_job.is_detached,
        ]

    job = shop.run(look)
    assert job.result == [job.id, "shop.look", "mail", 1, job.record.fence, False]


def test_async_jobs_know_themselves_as_well(shop: Shop) -> None:
    """Also in the tasks that they start."""

    @shop.later.task
    async def look() -> list[str]:
        async def inner() -> str:
            return current_job.id

        return [current_job.id, *await asyncio.gather(inner(), inner())]

    job = shop.run(look)
    assert job.result == [job.id] * 3


# Progress


def test_progress_is_kept_with_the_job(shop: Shop) -> None:
    """The last that was told, after the end as well."""

    @shop.later.task
    def build() -> None:
        current_job.progress(1, 4)
        current_job.progress(3, 4, "nearly")

    job = shop.run(build)
    assert job.progress == Progress(3, 4, "nearly")
    assert job.progress.fraction == 0.75


def test_progress_is_seen_while_the_job_runs(shop: Shop) -> None:
    """Whoever refreshes the handle sees how far it is."""
    gate = shop.gate()

    @shop.later.task
    def build() -> None:
        current_job.progress(1, 2)
        gate.wait(PATIENCE)

    job = shop.enqueue(build)
    until(lambda: job.refresh().progress)
    assert job.refresh().progress == Progress(1, 2)
    gate.set()
    job.wait(timeout=PATIENCE)


def test_progress_costs_few_commits() -> None:
    """Ten thousand steps in one instant are one or two notes, not ten thousand."""
    clock = VirtualClock()

    class CountingStore(MemoryStore):
        notes = 0

        def note(self, *args: Any) -> Any:
            self.notes += 1
            return super().note(*args)

    store = CountingStore(clock)
    with Shop(MANUAL=True) as shop:
        app = shop.make_app()
        app.extensions[PREPARED_KEY] = Prepared(clock=clock, store=store)
        shop.__dict__["app"] = app

        @shop.later.task
        def build() -> None:
            for _ in current_job.track(range(10_000)):
                pass

        job = shop.enqueue(build)
        shop.work()
        assert job.refresh().progress == Progress(10_000, 10_000)
    assert store.notes <= 2


def test_a_new_attempt_begins_without_progress(manual: Shop) -> None:
    """How far the one before came says nothing."""
    runs: list[int] = []

    @manual.later.task
    def build() -> None:
        runs.append(1)
        if len(runs) == 1:
            current_job.progress(1, 2)
        raise LookupError

    job = manual.enqueue(build)
    manual.work()
    assert job.refresh().progress == Progress(1, 2)
    job.retry()
    manual.work()
    assert job.refresh().progress is None


@pytest.mark.parametrize(
    ("progress", "fraction"),
    [
        (Progress(1, 4), 0.25),
        (Progress(5, 4), 1.0),
        (Progress(-1, 4), 0.0),
        (Progress(3), None),
        (Progress(3, 0), None),
    ],
)
def test_a_fraction_lies_between_zero_and_one(progress: Progress, fraction: float | None) -> None:
    """None as long as nobody knows the total."""
    assert progress.fraction == fraction


@pytest.mark.parametrize(
    "wrong",
    ["half", None, float("nan"), float("inf"), 1j, 10**5000],
    ids=["text", "none", "nan", "infinite", "complex", "huge"],
)
@pytest.mark.parametrize("name", ["current", "total"])
def test_progress_is_a_number(wrong: Any, name: str) -> None:
    """What no store could keep is refused in the task, detached or not."""
    if name == "total" and wrong is None:
        return
    with pytest.raises(InvalidSettingError, match=rf"^{name} of progress\(\) is .* finite"):
        current_job.progress(**{"current": 1, name: wrong})


# track


def test_track_tells_the_progress_of_what_has_a_length(manual: Shop) -> None:
    """From nothing to all, with the message."""

    @manual.later.task
    def build() -> list[object]:
        return [
            [item, *(current_job.latest_progress or ())]
            for item in current_job.track("abc", message="letters")
        ]

    job = manual.enqueue(build)
    manual.work()
    job = job.refresh()
    assert job.result == [
        ["a", 0, 3, "letters"],
        ["b", 1, 3, "letters"],
        ["c", 2, 3, "letters"],
    ]
    assert job.progress == Progress(3, 3, "letters")


def test_track_needs_no_length(manual: Shop) -> None:
    """Then it counts, or takes the total it is told."""

    @manual.later.task
    def build(total: int | None) -> int:
        return sum(current_job.track(iter([1, 2, 3]), total=total))

    jobs = [manual.enqueue(build, total) for total in (None, 5)]
    manual.work()
    assert [job.refresh().result for job in jobs] == [6, 6]
    assert [job.refresh().progress for job in jobs] == [Progress(3), Progress(3, 5)]


def test_track_of_nothing_is_done(manual: Shop) -> None:
    """No item, no cancellation point, nothing to divide by."""

    @manual.later.task
    def build() -> list[int]:
        return list(current_job.track([]))

    job = manual.enqueue(build)
    manual.work()
    assert (job.refresh().result, job.refresh().progress) == ([], Progress(0, 0))


# Log lines


def test_a_line_is_logged_and_kept(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """With the job for who looks at it, in the log for who reads that."""
    caplog.set_level(logging.INFO, "flask_later.job")

    @shop.later.task
    def talk() -> None:
        current_job.log("100 % done")

    job = shop.run(talk)
    assert [line.message for line in job.log()] == ["100 % done"]
    assert "100 % done" in caplog.messages


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (5, "5"),
        (LookupError("no"), "no"),
        ("a\0b\ud800", "a\\x00b\\ud800"),
        ("x" * 9999, "x" * 4000),
    ],
    ids=range(4),
)
@pytest.mark.parametrize("store", ["memory://", "sqlite"])
def test_whatever_is_logged_can_be_kept(tmp_path: Any, store: str, line: Any, kept: str) -> None:
    """Anything with a text, cut to what a line may hold, without what no database takes."""
    if store == "sqlite":
        store = f"sqlite:///{tmp_path}/later.sqlite3"
    with Shop(THREADS=1, STORE=store) as shop:

        @shop.later.task
        def talk() -> None:
            current_job.log(line)
            current_job.progress(1, message=line)

        job = shop.run(talk)
        assert job.error is None
        assert [each.message for each in job.log()] == [kept]
        assert job.progress == Progress(1, None, kept)


def test_the_oldest_lines_make_room() -> None:
    """A task that talks for ever fills no disk."""
    clock = VirtualClock()
    with Shop(MANUAL=True) as shop:
        app = shop.make_app()
        store = MemoryStore(clock, Limits(max_log_lines=10))
        app.extensions[PREPARED_KEY] = Prepared(clock=clock, store=store)
        shop.__dict__["app"] = app

        @shop.later.task
        def talk() -> None:
            for number in range(25):
                current_job.log(str(number))

        job = shop.enqueue(talk)
        shop.work()
        assert [line.message for line in job.log()] == [str(number) for number in range(15, 25)]


# Stopping


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_job_that_is_cancelled_ends_at_its_next_item(shop: Shop, is_async: bool) -> None:
    """It cleans up in ``finally``; ``except Exception`` does not hold it."""
    started, cleaned = shop.gate(), threading.Event()

    def build() -> None:
        try:
            for _ in current_job.track(iter(int, 1)):
                started.set()
                try:
                    cleaned.wait(0.001)
                    current_job.checkpoint()
                except Exception:  # noqa: BLE001, S110, RUF100
                    pass
        finally:
            cleaned.set()

    async def build_slowly() -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.set()

    job = shop.enqueue(shop.later.task(name="build")(build_slowly if is_async else build))
    assert started.wait(PATIENCE)
    assert job.cancel().state is JobState.RUNNING
    job = job.wait(timeout=PATIENCE)
    assert (job.state, job.error) == (JobState.CANCELLED, None)
    assert cleaned.is_set()


def test_a_task_may_look_for_itself_whether_it_should_end(shop: Shop) -> None:
    """One that returns in time has succeeded: it has done its work."""
    started = shop.gate()

    @shop.later.task
    def build() -> str:
        started.set()
        until(lambda: current_job.cancelled)
        return str(current_job.stop_reason)

    job = shop.enqueue(build)
    assert started.wait(PATIENCE)
    job.cancel()
    assert job.wait(timeout=PATIENCE).result == "cancelled"


def test_an_error_after_a_request_to_cancel_is_no_retry(shop: Shop) -> None:
    """A job that somebody cancelled does not come back, and is told as cancelled."""
    started = shop.gate()
    told: list[JobState] = []

    def receive(sender: object, job: Any, **_: object) -> None:
        told.append(job.state)

    signals.job_cancelled.connect(receive, shop.app)
    signals.job_retried.connect(receive, shop.app)

    @shop.later.task(retry=Retry(backoff=0))
    def build() -> None:
        started.set()
        until(lambda: current_job.cancelled)
        raise LookupError

    job = shop.enqueue(build)
    assert started.wait(PATIENCE)
    job.cancel()
    assert job.wait(timeout=PATIENCE).state is JobState.CANCELLED
    until(lambda: told)
    assert told == [JobState.CANCELLED]


def test_the_first_reason_to_stop_stays(shop: Shop) -> None:
    """What the task has been told does not change under it."""

    @shop.later.task
    def look() -> str:
        attempt = current_job._get_current_object()  # type: ignore[attr-defined]
        attempt.ask_to_stop(StopReason.SHUTDOWN)
        attempt.ask_to_stop(StopReason.CANCELLED)
        return str(current_job.stop_reason)

    assert shop.run(look).result == "shutdown"


def test_being_stopped_says_why() -> None:
    """And is no Exception, so that a task which catches those still ends."""
    stopped = JobStopped(StopReason.TIMEOUT)
    assert stopped.reason is StopReason.TIMEOUT
    assert not isinstance(stopped, Exception)


def test_a_coroutine_that_never_awaits_is_not_disturbed(shop: Shop) -> None:
    """A request to cancel that comes too late changes nothing, also for the next job."""

    @shop.later.task
    async def build() -> int:
        current_job._get_current_object().ask_to_stop(  # type: ignore[attr-defined]
            StopReason.CANCELLED
        )
        return 1

    assert shop.run(build).result == 1
    assert [shop.run(shop.later.task(add), 1).result for _ in range(2)] == [2, 2]
