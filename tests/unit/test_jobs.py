"""The handle: what it tells, waits for and commands, in each state of its job."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later import Job, JobState, current_job, signals
from flask_later.core.job import ErrorRecord, JobRecord, StopReason
from flask_later.core.store import WorkerRecord
from flask_later.errors import (
    InvalidSettingError,
    InvalidTransitionError,
    JobCancelledError,
    JobFailedError,
    JobNotFinishedError,
    JobNotFoundError,
    JobTimeoutError,
    ManualModeError,
    NotInitializedError,
    OutsideAppContextError,
    UniqueKeyTakenError,
    WaitInsideJobError,
)
from flask_later.testing.records import START, make_record


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


def add(a: int, b: int = 1) -> int:
    return a + b


def put(shop: Shop, state: JobState, **changes: Any) -> Job[Any]:
    """Put a job into the store that is in *state*, whatever brought it there."""
    delay = 60.0 if state is JobState.SCHEDULED else 0.0
    record = make_record(at=shop.state.clock.now(), delay=delay, task="add", **changes)
    record = record._replace(state=state, worker="w" if state is JobState.RUNNING else None)
    shop.store.add([record])
    return Job(record, shop.state)


# Finding


@pytest.mark.parametrize(
    "job_id", ["0" * 32, "", "nonsense", "A" * 32, "0" * 1000, 5, None, uuid.uuid4()], ids=range(8)
)
def test_an_id_that_nobody_has_is_an_error(manual: Shop, job_id: Any) -> None:
    """It never stands for "not yet", and whatever was given is cut short."""
    with manual.app.app_context(), pytest.raises(JobNotFoundError) as refusal:
        manual.later.job(job_id)
    assert refusal.value.job_id == str(job_id)[:64]
    assert "There is no job" in str(refusal.value)


def test_a_memory_store_names_the_likely_cause(manual: Shop) -> None:
    """With several processes another one may have the job."""
    with manual.app.app_context(), pytest.raises(JobNotFoundError) as refusal:
        manual.later.job("0" * 32)
    assert "gunicorn --workers 2" in str(refusal.value)
    assert "LATER_STORE = 'sqlite:///later.sqlite3'" in str(refusal.value)


def test_a_store_that_others_see_has_no_such_excuse(tmp_path: Any) -> None:
    """There the id is wrong, or the record has expired."""
    with Shop(MANUAL=True, STORE=f"sqlite:///{tmp_path}/later.sqlite3") as shop:
        with shop.app.app_context(), pytest.raises(JobNotFoundError) as refusal:
            shop.later.job("0" * 32)
        assert "gunicorn" not in str(refusal.value)


def test_looking_for_a_job_needs_an_app(manual: Shop) -> None:
    """The error says what to write."""
    with pytest.raises(OutsideAppContextError, match=r"later\.job\(\) was called where no Flask"):
        manual.later.job("0" * 32)


def test_a_later_finds_the_jobs_of_its_own_app_only(manual: Shop) -> None:
    """Asked in the context of another's, it says so."""
    text = r"later\.job\(\) does not belong"
    refused = pytest.raises(NotInitializedError, match=text)
    with Shop(MANUAL=True) as other, other.app.app_context(), refused:
        manual.later.job("0" * 32)


def test_a_handle_needs_no_app_context(shop: Shop) -> None:
    """It knows its app: it may be passed on, and waited for anywhere."""
    job = shop.run(shop.later.task(add), 1)
    assert job.refresh().result == 2


def test_a_handle_stays_as_it_was_read(manual: Shop) -> None:
    """refresh() returns a new one."""
    job = manual.enqueue(manual.later.task(add), 1)
    manual.work()
    assert (job.state, job.refresh().state) == (JobState.QUEUED, JobState.SUCCEEDED)
    with pytest.raises(AttributeError):
        job.duplicate = True  # type: ignore[misc]


def test_a_handle_shows_id_task_and_state(manual: Shop) -> None:
    """And nothing of the arguments."""
    job = manual.enqueue(manual.later.task(name="shop.add")(add), 1)
    assert repr(job) == f"<Job {job.id} shop.add queued>"


def test_the_ids_of_jobs_are_random(manual: Shop) -> None:
    """32 hex digits, and no two the same, more than are drawn at a time."""
    task = manual.later.task(add)
    with manual.app.app_context():
        ids = {job.id for job in manual.later.enqueue_many([task.call(1)] * 1000)}
    assert len(ids) == 1000
    assert {len(each) for each in ids} == {32}
    assert set("".join(ids)) == set("0123456789abcdef")


# Results


@pytest.mark.parametrize(
    "state",
    [JobState.HELD, JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING, JobState.PARKED],
)
def test_an_unfinished_job_has_no_result(manual: Shop, state: JobState) -> None:
    """The error says in which state it is, and how to wait."""
    job = put(manual, state)
    with pytest.raises(JobNotFinishedError, match=f"is {state.value}, it has no result yet"):
        assert job.result
    assert not job.is_finished


def test_a_failed_job_raises_its_error_as_text(manual: Shop) -> None:
    """Type, message and traceback; never the exception itself."""
    job = put(manual, JobState.FAILED, error=ErrorRecord("shop.NoData", "no data", "Traceback"))
    with pytest.raises(JobFailedError, match=r"failed: shop\.NoData: no data") as failure:
        assert job.result
    assert (failure.value.error_type, failure.value.traceback) == ("shop.NoData", "Traceback")
    assert job.is_finished


def test_a_cancelled_job_says_so(manual: Shop) -> None:
    """And how it can be queued again."""
    with pytest.raises(JobCancelledError, match=r"job\.retry\(\) queues it again"):
        assert put(manual, JobState.CANCELLED).result


# Waiting


def test_waiting_ends_with_the_job(shop: Shop) -> None:
    """The handle that comes back is finished."""
    gate = shop.gate()
    job = shop.enqueue(shop.later.task(name="wait")(lambda: gate.wait(PATIENCE)))
    threading.Timer(0.05, gate.set).start()
    assert job.wait(timeout=PATIENCE).result is True


def test_waiting_is_bounded(shop: Shop) -> None:
    """The error says that the job goes on, and it does."""
    gate = shop.gate()
    job = shop.enqueue(shop.later.task(name="wait")(lambda: gate.wait(PATIENCE)))
    with pytest.raises(JobTimeoutError) as refusal:
        job.wait(timeout=0.01)
    assert "after 0.01 s; it goes on" in str(refusal.value)
    gate.set()
    assert job.wait(timeout=PATIENCE).is_finished


def test_a_wait_in_vain_says_that_nobody_runs_jobs(tmp_path: Any) -> None:
    """A script with a context, say: the server that runs the job does not run."""
    with Shop(STORE=f"sqlite:///{tmp_path}/later.sqlite3") as shop:
        app, task = shop.make_app(), shop.later.task(add)
        with app.app_context():
            job = task.enqueue(1)
            with pytest.raises(JobTimeoutError, match=r"later\.start\(app\).*flask later worker"):
                job.wait(timeout=0)
        shop.later.stop(app)


def test_a_wait_in_vain_says_that_there_is_no_worker(tmp_path: Any) -> None:
    """With ``LATER_EMBEDDED = False`` no server would run the job."""
    with Shop(STORE=f"sqlite:///{tmp_path}/later.sqlite3", EMBEDDED=False) as shop:
        job = shop.enqueue(shop.later.task(add), 1)
        with pytest.raises(JobTimeoutError, match=r"No process runs jobs now\. Type: flask later"):
            job.wait(timeout=0)


def test_a_wait_in_vain_says_that_nobody_takes_from_the_queue(tmp_path: Any) -> None:
    """Where others are served."""
    with Shop(STORE=f"sqlite:///{tmp_path}/later.sqlite3", EMBEDDED=False) as shop:
        job = shop.enqueue(shop.later.task(queue="mail")(add), 1)
        shop.store.register(WorkerRecord("w", "host", 1, START, ("default",)))
        with pytest.raises(JobTimeoutError, match=r"No process takes from its queue 'mail'"):
            job.wait(timeout=0)


def test_a_wait_in_vain_says_that_all_threads_are_busy(shop: Shop) -> None:
    """Or that nobody is allowed to take it."""
    paused = shop.later.task(queue="paused")(add)
    with shop.app.app_context():
        shop.later.pause("paused")
        with pytest.raises(JobTimeoutError, match=r"busy, or its queue is paused"):
            shop.enqueue(paused, 1).wait(timeout=0)


def test_a_finished_job_needs_no_wait(shop: Shop) -> None:
    """Not even a moment."""
    job = shop.run(shop.later.task(add), 1)
    assert job.wait(timeout=0).result == 2


@pytest.mark.parametrize("timeout", [-1, None, "1"])
def test_a_wait_needs_a_timeout(shop: Shop, timeout: Any) -> None:
    """There is no waiting for ever."""
    with pytest.raises(InvalidSettingError, match="timeout"):
        shop.enqueue(shop.later.task(add), 1).wait(timeout=timeout)


def test_many_threads_may_wait_for_one_job(shop: Shop) -> None:
    """All of them are told."""
    gate, results = shop.gate(), list[object]()
    job = shop.enqueue(shop.later.task(name="wait")(lambda: gate.wait(PATIENCE)))
    threads = [
        threading.Thread(target=lambda: results.append(job.wait(timeout=PATIENCE).result))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [True] * 5


@pytest.mark.parametrize("command", [Job.cancel, lambda job: job.cancel().discard()], ids=range(2))
def test_a_wait_ends_when_the_job_is_cancelled_or_gone(
    shop: Shop, command: Callable[[Job[Any]], object]
) -> None:
    """Nobody waits for what will never come."""
    job = shop.enqueue(shop.later.task(add).using(delay=3600), 1)
    ended: list[object] = []

    def wait() -> None:
        try:
            ended.append(job.wait(timeout=PATIENCE).state)
        except JobNotFoundError:
            ended.append(JobState.CANCELLED)

    thread = threading.Thread(target=wait)
    thread.start()
    command(job)
    thread.join(PATIENCE)
    assert ended == [JobState.CANCELLED]


def test_a_job_does_not_wait_for_a_job(shop: Shop) -> None:
    """With every thread waiting, nothing would run; calling the task is fine."""
    inner = shop.later.task(add)

    @shop.later.task(name="outer")
    def outer() -> list[object]:
        child = inner.enqueue(1)
        try:
            child.wait(timeout=PATIENCE)
        except WaitInsideJobError as error:
            return [inner(1), str(error)]
        return []

    result = shop.run(outer).result
    assert result[0] == 2
    assert result[1].startswith("Task 'outer' waits for job ")


def test_where_nothing_runs_by_itself_waiting_is_refused(manual: Shop) -> None:
    """The error names what to call; what is finished already can be waited for."""
    job = manual.enqueue(manual.later.task(add), 1)
    with pytest.raises(ManualModeError, match=r"flask_later\.testing\.run_all\(app\)"):
        job.wait(timeout=1)
    manual.work()
    assert job.wait(timeout=1).result == 2


# Commands

ALLOWED: dict[str, dict[JobState, JobState | None]] = {
    "cancel": {
        JobState.HELD: JobState.CANCELLED,
        JobState.SCHEDULED: JobState.CANCELLED,
        JobState.QUEUED: JobState.CANCELLED,
        JobState.PARKED: JobState.CANCELLED,
        JobState.RUNNING: JobState.RUNNING,
    },
    "retry": {JobState.FAILED: JobState.QUEUED, JobState.CANCELLED: JobState.QUEUED},
    "resume": {JobState.PARKED: JobState.QUEUED, JobState.HELD: JobState.QUEUED},
    "discard": {
        JobState.HELD: None,
        JobState.SUCCEEDED: None,
        JobState.FAILED: None,
        JobState.CANCELLED: None,
    },
}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("command", ALLOWED)
def test_each_state_takes_the_commands_of_its_row(
    manual: Shop, command: str, state: JobState
) -> None:
    """What it does not take is refused with the state, and changes nothing."""
    job = put(manual, state)
    if state not in ALLOWED[command]:
        with pytest.raises(InvalidTransitionError) as refusal:
            getattr(job, command)()
        assert str(refusal.value) == f"Cannot {command} job {job.id}: it is {state.value}."
        assert job.refresh().record == job.record
        return
    after = getattr(job, command)()
    wanted = ALLOWED[command][state]
    if wanted is None:
        with pytest.raises(JobNotFoundError):
            job.refresh()
    else:
        assert (after.state, job.refresh().record) == (wanted, after.record)


@pytest.mark.parametrize("command", ALLOWED)
def test_a_job_that_is_gone_takes_no_command(manual: Shop, command: str) -> None:
    """Its record has expired, or somebody discarded it."""
    job = put(manual, JobState.FAILED)
    job.discard()
    with pytest.raises(JobNotFoundError):
        getattr(job, command)()


def test_cancelling_a_running_job_asks_it_to_stop(manual: Shop) -> None:
    """Its task has to notice."""
    job = put(manual, JobState.RUNNING).cancel()
    assert job.record.stop is StopReason.CANCELLED


def test_a_cancelled_job_is_told(manual: Shop) -> None:
    """Also one that never ran: nobody else could tell."""
    told: list[JobRecord] = []

    def receive(sender: object, job: JobRecord, **_: object) -> None:
        assert sender is manual.app
        told.append(job)

    signals.job_cancelled.connect(receive, manual.app)
    put(manual, JobState.RUNNING).cancel()
    job = put(manual, JobState.QUEUED).cancel()
    assert told == [job.record]


def test_a_retried_job_has_new_budgets(shop: Shop) -> None:
    """It begins as if it had never run, and runs at once."""
    attempts: list[int] = []

    @shop.later.task
    def flaky() -> int:
        attempts.append(current_job.attempt)
        if len(attempts) == 1:
            raise LookupError
        return 7

    failed = shop.run(flaky)
    job = failed.retry()
    assert (job.error, job.attempts, job.record.failures) == (None, 0, 0)
    assert job.wait(timeout=PATIENCE).result == 7
    assert attempts == [1, 1]


def test_a_cancelled_job_can_be_retried(shop: Shop) -> None:
    """Without the delay that it had: it is wanted now."""
    job = shop.enqueue(shop.later.task(add).using(delay=3600), 1).cancel()
    assert job.retry().wait(timeout=PATIENCE).result == 2


def test_a_retry_does_not_take_a_unique_key_from_another(manual: Shop) -> None:
    """The error names the holder; once that is finished, the retry goes through."""
    task = manual.later.task(add).using(unique_key="k")
    first = manual.enqueue(task, 1).cancel()
    second = manual.enqueue(task, 2)
    with pytest.raises(UniqueKeyTakenError) as refusal:
        first.retry()
    assert (refusal.value.unique_key, refusal.value.holder) == ("k", second.id)
    manual.work()
    assert first.retry().state is JobState.QUEUED


def test_a_parked_job_can_be_resumed_by_hand(shop: Shop) -> None:
    """It looks again, and is parked again as long as nobody knows its task."""
    record = make_record(at=shop.state.clock.now(), task="nobody.knows")
    shop.store.add([record])
    shop.store.wake([record.queue])
    job = Job(record, shop.state)
    until(lambda: job.refresh().state is JobState.PARKED)
    fence = job.refresh().record.fence
    assert job.resume().state is JobState.QUEUED
    until(lambda: job.refresh().record.fence > fence)
    until(lambda: job.refresh().state is JobState.PARKED)


def test_log_lines_can_be_read_on(shop: Shop) -> None:
    """In their order, after the last one that is known."""

    @shop.later.task
    def talk() -> None:
        for number in range(5):
            current_job.log(f"line {number}")

    job = shop.run(talk)
    lines = job.log()
    assert [line.message for line in lines] == [f"line {number}" for number in range(5)]
    assert [line.message for line in job.log(after=lines[2].id, limit=1)] == ["line 3"]


# The end of a record


@pytest.mark.parametrize(
    ("setting", "fails"),
    [("KEEP_SUCCEEDED", False), ("KEEP_FAILED", True)],
    ids=["result", "error"],
)
def test_a_record_is_kept_for_its_time(setting: str, fails: bool) -> None:
    """Then it is gone, and the id is that of no job."""
    with Shop(MANUAL=True, **{setting: 60}) as shop:
        job = shop.enqueue(shop.later.task(name="add")(add), "a" if fails else 1)
        shop.work()
        clock: Any = shop.state.clock
        clock.advance(59)
        shop.process.maintenance.look()
        assert job.refresh().is_finished
        clock.advance(2)
        shop.process.maintenance.look()
        with pytest.raises(JobNotFoundError, match="its record has expired"):
            job.refresh()


def test_no_more_records_are_kept_than_may_be() -> None:
    """``LATER_MAX_FINISHED``: the oldest go first."""
    with Shop(MANUAL=True, MAX_FINISHED=2) as shop:
        task = shop.later.task(add)
        jobs = [shop.enqueue(task, number) for number in range(4)]
        shop.work()
        shop.process.maintenance.look()
        kept = shop.store.get([job.id for job in jobs])
        assert list(kept) == [job.id for job in jobs[2:]]


def test_a_job_that_waits_does_not_expire() -> None:
    """However long it takes until somebody runs it."""
    with Shop(MANUAL=True, KEEP_SUCCEEDED=0, KEEP_FAILED=0) as shop:
        job = shop.enqueue(shop.later.task(add), 1)
        clock: Any = shop.state.clock
        clock.advance(365 * 86_400)
        shop.process.maintenance.look()
        assert job.refresh().state is JobState.QUEUED
