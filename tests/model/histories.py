"""What the histories are made of that the model of the stores goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from flask_later.core.exchange import (
    Again,
    Cancelled,
    Claim,
    Failed,
    Outcome,
    Parked,
    Released,
    Succeeded,
)
from flask_later.core.job import (
    FINISHED,
    Cancel,
    Command,
    Discard,
    ErrorRecord,
    JobRecord,
    JobState,
    Resume,
    Retry,
    UniqueUntil,
)
from flask_later.core.store import BEAT, Limits
from flask_later.testing.records import make_record

#: How an attempt ends, made of its claim and the instant.
Ending = Callable[[Claim, datetime], Outcome]

#: Small enough to be reached.
LIMITS = Limits(
    max_pending=8,
    max_log_lines=3,
    keep=dict.fromkeys(FINISHED, timedelta(seconds=90)),
)
QUEUES = ("a", "b")
#: The places at which one worker follows another: each is a process that may die.
PLACES = (0, 1)

_OOPS = ErrorRecord("ValueError", "oops")


def _fail(taken: bool) -> Ending:
    return lambda claim, _: Failed(claim, _OOPS, taken)


def _try_again(delay: float, error: ErrorRecord | None, taken: bool) -> Ending:
    return lambda claim, now: Again(claim, now + timedelta(seconds=delay), error, taken)


def _park(signature: str | None) -> Ending:
    return lambda claim, _: Parked(claim, _OOPS, signature)


def _succeed(claim: Claim, _: datetime) -> Outcome:
    return Succeeded(claim, "1")


def _release(claim: Claim, _: datetime) -> Outcome:
    return Released(claim)


def _cancel(claim: Claim, _: datetime) -> Outcome:
    return Cancelled(claim)


endings: st.SearchStrategy[Ending] = st.one_of(
    st.sampled_from([_succeed, _release, _cancel]),
    st.builds(_fail, st.booleans()),
    st.builds(
        _try_again, st.sampled_from([0, 0, 5]), st.sampled_from([None, _OOPS]), st.booleans()
    ),
    st.builds(_park, st.sampled_from([None, "old"])),
)
#: What differs from one new record to the next.
records = st.fixed_dictionaries(
    {
        "queue": st.sampled_from(QUEUES),
        "priority": st.integers(-1, 1),
        "delay": st.sampled_from([0, 0, 0, 5, 40]),
        "unique_key": st.sampled_from([None, None, "k1", "k2"]),
    },
    optional={
        "state": st.just(JobState.HELD),
        "unique_until": st.just(UniqueUntil.STARTED),
        # In seconds, see new_record.
        "unique_for": st.sampled_from([5, 60, 120]),
        "expires": st.sampled_from([1, 5, 30]),
    },
)


_AS_THEY_ARE = frozenset({"queue", "priority", "delay", "unique_key", "state", "unique_until"})


def new_record(now: datetime, changes: Mapping[str, Any]) -> JobRecord:
    """Return a record as it is enqueued *now*, made of what :data:`records` draws."""
    record = make_record(
        at=now, **{name: value for name, value in changes.items() if name in _AS_THEY_ARE}
    )
    if "unique_for" in changes and record.unique_key is not None:
        key_free_at = now + timedelta(seconds=changes["unique_for"])
        record = record._replace(key_free_at=key_free_at)
    if "expires" in changes:
        expires_at = record.run_at + timedelta(seconds=changes["expires"])
        record = record._replace(expires_at=expires_at)
    return record


places = st.sampled_from(PLACES)
limits = st.integers(1, 3)
hinted_queues = st.sampled_from([None, *QUEUES])
wanted_queues = st.sampled_from([None, QUEUES, ("b", "a"), ("b",)])
#: None: add the job again.
commands: st.SearchStrategy[Command | None] = st.sampled_from(
    [None, Cancel(), Cancel(), Retry(), Discard(), Resume()]
)
steps = st.sampled_from([0.001, 1.0, 5.0, BEAT, 14.0])
#: The tasks that the sweeping process knows; None: it does not sweep.
knowns = st.sampled_from([None, {}, {"shop.tasks.send": "old"}, {"shop.tasks.send": "new"}])
