"""Faults 36 to 50: what a task raises, on the SQLite store and on real threads.

Each costs its own job at most: the thread lives on, and what happened is in the file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.shop import Shop, until

from flask_later import Job, JobState, Retry, current_job, signals
from flask_later.core.job import JobRecord

AT_ONCE = Retry(max_attempts=3, backoff=0)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(STORE=f"sqlite:///{tmp_path}/later.sqlite3", THREADS=1) as shop:
        yield shop


def add(a: int, b: int = 1) -> int:
    return a + b


def run_failing(shop: Shop, function: Callable[..., Any], *args: Any, **options: Any) -> Job[Any]:
    """Run *function* as a job that fails; the only thread then runs the next."""
    job = shop.run(shop.later.task(name="fail", **options)(function), *args)
    assert job.state is JobState.FAILED
    assert shop.run(shop.later.task(add), 1).result == 2
    return job


class LambdaError(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("not to be pickled", lambda: None)


class EvilError(Exception):
    """Says nothing of itself, in no way."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__

    @property
    def __notes__(self) -> list[str]:
        raise ValueError("no notes")


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_c36_an_exception_fails_the_job(shop: Shop) -> None:
    """Its type, its text and its traceback are in the file, without a value of a variable."""

    def fail() -> None:
        secret = "-".join("do not show")  # noqa: F841
        raise LookupError("no data")

    job = run_failing(shop, fail)
    assert job.error is not None
    assert (job.error.type, job.error.message) == ("LookupError", "no data")
    assert 'raise LookupError("no data")' in job.error.traceback
    assert "d-o- -n-o-t" not in job.error.traceback


class OwnError(BaseException):
    pass


@pytest.mark.parametrize("code", [0, 1, None, "text"])
def test_c37_leaving_fails_the_job(shop: Shop, code: object) -> None:
    """Also with code 0: the function did not return. The thread does not leave."""
    job = run_failing(shop, raising(SystemExit(code)), retry=AT_ONCE)
    assert job.error is not None
    assert (job.error.type, job.attempts) == ("SystemExit", 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, OwnError])
def test_c38_what_is_no_exception_fails_the_job(shop: Shop, error: type[BaseException]) -> None:
    """It is not tried again, and does not look like somebody's Ctrl-C."""
    job = run_failing(shop, raising(error()), retry=AT_ONCE)
    assert job.error is not None
    assert (job.error.type, job.attempts) == (error.__name__, 1)


def test_c39_a_recursion_without_end_fails_the_job(shop: Shop) -> None:
    """Repeated frames are told once, so the text stays short."""

    def fail(depth: int = 0) -> int:
        return 1 + fail(depth + 1)

    job = run_failing(shop, fail)
    assert job.error is not None
    assert job.error.type == "RecursionError"
    assert "Previous line repeated" in job.error.traceback
    assert len(job.error.traceback) <= 16_000


def test_c40_no_memory_for_a_value_fails_the_job(shop: Shop) -> None:
    """There is enough for saying so: nothing large is made of it."""
    job = run_failing(shop, lambda: bytearray(1 << 62))
    assert job.error is not None
    assert job.error.type == "MemoryError"


def test_c41_an_exception_without_a_text_fails_the_job(shop: Shop) -> None:
    """Its type stands for it, also where it raises for each question about it."""
    job = run_failing(shop, raising(EvilError()))
    assert job.error is not None
    assert (job.error.type, job.error.message) == ("EvilError", "<unprintable EvilError>")


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("a\0b", "a\\x00b"),
        ("a\ud800b", "a\\ud800b"),
        ("x" * 10_000_000, "xxx"),
        ("\ud800" * 1_000_000, "\\ud800\\ud800"),
        ("\U0001f600" * 1_000_000, "\U0001f600"),
    ],
    ids=["NUL", "surrogate", "10 MB", "surrogates", "emoji"],
)
def test_c42_no_message_is_too_odd_or_too_long(shop: Shop, text: str, begins: str) -> None:
    """It is cut and written out, and never hides the failure."""
    job = run_failing(shop, raising(ValueError(text)))
    assert job.error is not None
    assert job.error.type == "ValueError"
    assert job.error.message.startswith(begins)
    assert len(job.error.message) <= 2_000
    assert len(job.error.traceback) <= 16_000


def raise_own_cause() -> None:
    error = KeyError("first")
    error.__cause__ = error
    raise error


def raise_circle() -> None:
    first, second = KeyError("first"), LookupError("second")
    first.__context__, second.__context__ = second, first
    raise first


def raise_long_chain() -> None:
    error: Exception = KeyError("first")
    for number in range(5_000):
        error = _caused(number, error)
    raise error


def _caused(number: int, cause: Exception) -> Exception:
    error = ValueError(number)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "function", [raising(LambdaError()), raise_own_cause, raise_circle, raise_long_chain]
)
def test_c43_nothing_is_pickled_and_a_circle_is_cut(
    shop: Shop, function: Callable[[], None]
) -> None:
    """The exception is kept as text; what led to it is told as far as there is room."""
    job = run_failing(shop, function)
    assert job.error is not None
    assert job.error.type in {"LambdaError", "KeyError", "ValueError"}
    assert len(job.error.traceback) <= 16_000


@pytest.mark.parametrize("error", [LookupError, SystemExit, EvilError])
@pytest.mark.parametrize("name", ["job_succeeded", "job_retried", "job_failed"])
def test_c45_a_receiver_that_raises_changes_no_outcome(
    shop: Shop, name: str, error: type[BaseException]
) -> None:
    """Outcomes are stored first and told afterwards, to all who want to hear."""
    stored: list[JobRecord] = []

    def complain(sender: object, **_: object) -> None:
        raise error("receiver")

    def look(sender: object, job: JobRecord, **_: object) -> None:
        stored.append(shop.store.get([job.id])[job.id])

    @shop.later.task(retry=Retry(max_attempts=2, backoff=0))
    def work(fails: bool) -> None:
        if fails:
            raise ValueError

    signal = getattr(signals, name)
    signal.connect(complain, shop.app)
    signal.connect(look, shop.app)
    fails = name != "job_succeeded"
    job = shop.run(work, fails)
    assert job.state is (JobState.FAILED if fails else JobState.SUCCEEDED)
    assert shop.run(shop.later.task(add), 1).result == 2
    until(lambda: stored)
    assert stored[0].failures >= 1 if fails else stored[0].state is JobState.SUCCEEDED


@pytest.mark.parametrize("result", [object(), {1, object()}, (line for line in "ab")])
def test_c46_a_result_that_cannot_be_stored_is_not_tried_again(shop: Shop, result: object) -> None:
    """The function has done its work, and would do it twice."""
    effects: list[int] = []

    def give() -> object:
        effects.append(1)
        return result

    job = run_failing(shop, give, retry=AT_ONCE)
    assert job.error is not None
    assert (job.error.type, job.attempts, len(effects)) == ("NotSerializableError", 1, 1)


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(), EvilError()])
def test_c47_a_logging_handler_that_raises_changes_no_outcome(
    shop: Shop, error: BaseException
) -> None:
    """Whatever becomes of the lines, the job has its outcome, and its progress."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error

    def work(fails: bool) -> str:
        current_job.progress(1, 2)
        if fails:
            raise ValueError
        return "done"

    handler, logger = Broken(), logging.getLogger("flask_later")
    logger.addHandler(handler)
    try:
        task = shop.later.task(name="work", retry=AT_ONCE)(work)
        assert shop.run(task, True).state is JobState.FAILED
        done = shop.run(task, False)
        assert (done.result, done.progress and done.progress.fraction) == ("done", 0.5)
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt])
def test_c49_a_teardown_that_raises_keeps_the_result(
    shop: Shop, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """What the job did stands, and the log has the rest."""

    def fail(_: object) -> None:
        if current_job.id:
            raise error("no teardown")

    shop.app.teardown_appcontext(fail)
    assert [shop.run(shop.later.task(add), number).result for number in range(2)] == [1, 2]
    assert "no teardown" in caplog.text
