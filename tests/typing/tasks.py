"""What mypy and pyright make of tasks and jobs. Read by them, never run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import assert_type

from flask_later import Call, Job, JobState, Later, Retry, Task, TaskGroup, current_job

later = Later()
group = TaskGroup("billing", queue="slow", retry=Retry(max_attempts=2))


# The decorator keeps the function's parameters and what it returns.


@later.task
def plain(year: int, *, month: int = 1) -> str:
    return f"{year}-{month}"


@later.task(queue="mail", retry=Retry(max_attempts=5, on=(KeyError, ValueError)), timeout=30)
def with_options(year: int) -> list[int]:
    return [year]


@later.task
async def slowly(year: int) -> bytes:
    return bytes(year)


@later.task()
async def slowly_with_parentheses() -> None: ...


@group.task
def of_a_group(names: Sequence[str] = ()) -> dict[str, int]:
    return dict.fromkeys(names, 0)


@group.task(name="billing.other", aliases=["old"], timeout=timedelta(minutes=1))
async def async_of_a_group(a: int, /, b: str) -> tuple[int, str]:
    return a, b


def calls() -> None:
    assert_type(plain(2026, month=2), str)
    assert_type(with_options(2026), list[int])
    assert_type(of_a_group(["a"]), dict[str, int])


async def awaits() -> None:
    assert_type(await slowly(2026), bytes)
    assert_type(await async_of_a_group(1, b="b"), tuple[int, str])
    await slowly_with_parentheses()


# A job is typed like the function; of an async one, like what it returns in the end.


def jobs() -> None:
    assert_type(plain.enqueue(2026, month=2), Job[str])
    assert_type(with_options.enqueue(year=2026), Job[list[int]])
    assert_type(slowly.enqueue(2026), Job[bytes])
    assert_type(slowly_with_parentheses.enqueue(), Job[None])
    assert_type(of_a_group.enqueue(), Job[dict[str, int]])
    assert_type(async_of_a_group.enqueue(1, "b"), Job[tuple[int, str]])


def results() -> None:
    job = plain.enqueue(2026)
    assert_type(job.wait(timeout=5), Job[str])
    assert_type(job.wait(timeout=timedelta(seconds=5)).result, str)
    assert_type(job.refresh().retry().cancel().resume().result, str)
    assert_type(slowly.enqueue(2026).wait(5).result, bytes)
    assert_type(job.state, JobState)
    assert_type(job.discard(), None)


def found(job_id: str) -> None:
    assert_type(later.job(job_id), Job[object])
    assert_type(plain.job(job_id), Job[str])
    assert_type(slowly.job(job_id), Job[bytes])
    assert_type(async_of_a_group.job(job_id).result, tuple[int, str])


# using() changes options, not types.


def used() -> None:
    later_on = plain.using(delay=60, priority=5, queue="mail", unique_key="k", timeout=None)
    assert_type(later_on.enqueue(2026), Job[str])
    assert_type(later_on(2026), str)
    assert_type(slowly.using(at=datetime.now(UTC)).enqueue(2026), Job[bytes])
    assert_type(plain.using(delay=timedelta(hours=1)).using(at=None).call(1), Call[str])


# Calls are typed as their jobs.


def many() -> None:
    assert_type(plain.call(2026), Call[str])
    assert_type(slowly.call(2026), Call[bytes])
    assert_type(later.enqueue_many([plain.call(1), plain.call(2)]), list[Job[str]])
    assert_type(later.enqueue_many(slowly.call(year) for year in range(3)), list[Job[bytes]])


# A task can be handed on as what it is.


def takes_a_task(task: Task[[int], list[int]]) -> Job[list[int]]:
    return task.enqueue(2026)


def takes_a_function(function: Callable[[int], list[int]]) -> list[int]:
    return function(2026)


def takes_any_job(job: Job[object]) -> object:
    return job.result


def handed_on() -> None:
    takes_a_task(with_options)
    takes_a_function(with_options)
    takes_any_job(plain.enqueue(2026))
    later.register(group)
    assert_type(later.register(group), TaskGroup)


# What is wrong is found. An ignore that is not needed is an error itself.


def mistakes() -> None:
    plain.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain.enqueue("2026")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain.enqueue(2026, day=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain.using(dealy=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain.enqueue(2026).wait()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    later.task(retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    later.enqueue_many([plain])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain.delay(2026)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


# Inside of a task.


@later.task
def tracking() -> int:
    total = 0
    for month in current_job.track(range(12), message="months"):
        assert_type(month, int)
        total += month
    for name, number in current_job.track([("a", 1)], total=1):
        assert_type(name, str)
        assert_type(number, int)
    assert_type(current_job.cancelled, bool)
    assert_type(current_job.id, str)
    return total


def options_that_no_task_has() -> None:
    later.task(queu="mail")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    later.task(durable="x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    later.respond_async(queu="x")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
