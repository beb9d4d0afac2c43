"""When a failed attempt is tried again."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_later import Failure, Retry, TryAgain
from flask_later.config import Settings
from flask_later.core.retry import ONCE
from flask_later.errors import InvalidSettingError

DURATIONS = st.floats(0, 1e9)


@given(
    backoff=DURATIONS,
    cap=DURATIONS,
    jitter=st.booleans(),
    failures=st.integers(1, 10**9),
    seed=st.integers(),
)
def test_a_wait_stays_between_zero_and_the_cap(
    backoff: float, cap: float, jitter: bool, failures: int, seed: int
) -> None:
    """However often it failed, the wait is at most the cap and at most the doubled backoff."""
    retry = Retry(max_attempts=10**9 + 1, backoff=backoff, cap=cap, jitter=jitter)
    wait = retry.delay_after(failures, ValueError(), random.Random(seed))
    assert wait is not None
    assert 0 <= wait <= cap
    assert wait <= backoff * 2.0 ** min(failures - 1, 64)


@given(backoff=st.floats(0.1, 100), failures=st.integers(1, 20))
def test_without_jitter_each_wait_is_twice_the_one_before(backoff: float, failures: int) -> None:
    """It begins with the backoff, and doubles until the cap."""
    retry = Retry(max_attempts=100, backoff=backoff, cap=1e9, jitter=False)
    wait = retry.delay_after(failures, ValueError(), random.Random())
    assert wait == pytest.approx(backoff * 2 ** (failures - 1))


@given(seed=st.integers())
def test_jitter_takes_the_whole_range(seed: int) -> None:
    """A hundred waits come close to both ends, so that failed jobs are spread out."""
    retry, rng = Retry(max_attempts=2, backoff=100.0, cap=100.0), random.Random(seed)
    waits = [retry.delay_after(1, ValueError(), rng) or 0.0 for _ in range(100)]
    assert min(waits) < 20 < 80 < max(waits)


@given(attempts=st.integers(1, 20), failures=st.integers(1, 40))
def test_the_last_failure_is_the_attempts_allowed(attempts: int, failures: int) -> None:
    """With n attempts in all, the n-th failure is the last."""
    wait = Retry(max_attempts=attempts).delay_after(failures, ValueError(), random.Random())
    assert (wait is None) == (failures >= attempts)


def test_a_task_that_says_nothing_is_tried_once() -> None:
    """The default of a task is one attempt."""
    assert ONCE.delay_after(1, ValueError(), random.Random()) is None


def test_durations_may_be_timedeltas() -> None:
    """A timedelta means the same as its seconds."""
    retry = Retry(backoff=timedelta(minutes=2), cap=timedelta(minutes=3), jitter=False)
    assert retry.delay_after(1, ValueError(), random.Random()) == 120.0
    assert retry.delay_after(2, ValueError(), random.Random()) == 180.0


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionError(), True),
        (TimeoutError(), True),
        (ConnectionRefusedError(), False),
        (ValueError(), False),
    ],
)
def test_only_what_is_named_is_tried_again(error: Exception, again: bool) -> None:
    """``on`` says what is worth another attempt, and ``give_up_on`` what is not after all."""
    retry = Retry(on=(ConnectionError, TimeoutError), give_up_on=ConnectionRefusedError)
    assert (retry.delay_after(1, error, random.Random()) is not None) == again


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_what_is_no_exception_is_not_tried_again(error: BaseException) -> None:
    """SystemExit and its like fail the job, unless ``on`` names them."""
    assert Retry().delay_after(1, error, random.Random()) is None
    assert Retry(on=BaseException).delay_after(1, error, random.Random()) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": "3"},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"max_attempts": None},
        {"backoff": -1},
        {"backoff": "1s"},
        {"backoff": float("nan")},
        {"backoff": None},
        {"cap": float("inf")},
        {"cap": timedelta(seconds=-1)},
        {"jitter": "full"},
        {"on": "ValueError"},
        {"on": ValueError("no class")},
        {"on": [ValueError]},
        {"on": (ValueError, "KeyError")},
        {"on": int},
        {"give_up_on": [KeyError]},
        {"give_up_on": None},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    """The error names the option, not the worker that stumbles over it later."""
    with pytest.raises(InvalidSettingError, match=rf"^Retry\.{next(iter(wrong))} is "):
        Retry(**wrong)


def test_a_retry_is_a_value() -> None:
    """Two that say the same are equal, so that they can be compared and shared."""
    assert Retry(max_attempts=5) == Retry(max_attempts=5)
    assert hash(Retry(on=(KeyError, ValueError))) == hash(Retry(on=(KeyError, ValueError)))


@pytest.mark.parametrize("delay", [0, 1.5, timedelta(seconds=1.5)])
def test_try_again_keeps_its_delay_in_seconds(delay: float | timedelta) -> None:
    """Numbers and timedeltas mean the same."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    assert TryAgain(delay=delay).delay == seconds


@pytest.mark.parametrize("delay", [-1, "soon", None, float("nan")])
def test_try_again_refuses_what_is_no_delay(delay: Any) -> None:
    """The error is raised in the task, which fails with it."""
    with pytest.raises(InvalidSettingError, match="delay"):
        TryAgain(delay=delay)


def test_a_failure_shows_its_message() -> None:
    """The text is the exception's own, too."""
    assert (Failure("No data.").message, str(Failure("No data."))) == ("No data.", "No data.")


def test_the_settings_know_no_retries() -> None:
    """How often a task is tried is said where it is defined, never by an app's config."""
    assert not [name for name in Settings.__slots__ if "retr" in name or "attempt" in name]
