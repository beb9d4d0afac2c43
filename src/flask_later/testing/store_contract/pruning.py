"""Pruning: finished records go after a while, unfinished ones never."""

from __future__ import annotations

import pytest

from flask_later.core.exchange import Failed, Note, Succeeded
from flask_later.core.job import FINISHED, Cancel, JobRecord, JobState
from flask_later.core.store import Limits, Store

from .base import (
    OOPS,
    ContractBase,
    PatientClock,
    attempt,
    is_gone,
    now_of,
    settle,
    start,
)


def finish(store: Store, worker: str, state: JobState = JobState.SUCCEEDED) -> JobRecord:
    """Make a job that has ended in *state* just now."""
    running = start(store, worker)
    match state:
        case JobState.SUCCEEDED:
            settle(store, worker, Succeeded(attempt(running), "1"))
        case JobState.FAILED:
            settle(store, worker, Failed(attempt(running), OOPS))
        case _:
            settle(store, worker)
            store.command(running.id, Cancel())
            store.retire(worker)
    return now_of(store, running)


class PruningContract(ContractBase):
    @pytest.mark.parametrize("state", sorted(FINISHED))
    def test_a_finished_record_goes_after_its_time(
        self, store: Store, clock: PatientClock, worker: str, limits: Limits, state: JobState
    ) -> None:
        """Each end has a time of its own, counted from the end."""
        clock.advance(1_000)
        record = finish(store, worker, state)
        assert record.state is state
        keep = limits.keep[state].total_seconds()
        clock.advance(keep - 1)
        store.sweep(100, {})
        assert now_of(store, record) == record
        clock.advance(2)
        store.sweep(100, {})
        assert is_gone(store, record)

    def test_the_log_goes_with_its_record(
        self, store: Store, clock: PatientClock, worker: str, limits: Limits
    ) -> None:
        """Nothing of a job outlives it."""
        record = finish(store, worker)
        store.note(worker, [], [Note(attempt(record), lines=["line"])])
        clock.advance(limits.keep[record.state].total_seconds() + 1)
        store.sweep(100, {})
        assert list(store.log(record.id)) == []

    @pytest.mark.parametrize("state", sorted(frozenset(JobState) - FINISHED))
    def test_an_unfinished_record_stays(
        self, store: Store, clock: PatientClock, worker: str, state: JobState
    ) -> None:
        """However old it is."""
        running = start(store, worker)
        record = running._replace(id="a" * 32, state=state)
        store.add([record])
        clock.advance(10 * 86_400)
        store.note(worker, [attempt(running), attempt(record)], [])
        store.sweep(100, {})
        assert not is_gone(store, record)

    def test_of_too_many_finished_records_the_oldest_go(
        self, store: Store, clock: PatientClock, worker: str, limits: Limits
    ) -> None:
        """By their end, whatever it was."""
        states = [JobState.FAILED, JobState.SUCCEEDED, JobState.FAILED]
        records: list[JobRecord] = []
        for number in range(limits.max_finished + 2):
            records.append(finish(store, worker, states[number % 3]))
            clock.advance(1)
        store.sweep(100, {})
        left = store.get(record.id for record in records)
        assert list(left) == [record.id for record in records[2:]]

    def test_pruning_keeps_its_budget(
        self, store: Store, clock: PatientClock, worker: str, limits: Limits
    ) -> None:
        """The next sweep goes on, the oldest go first."""
        records: list[JobRecord] = []
        for _ in range(5):
            records.append(finish(store, worker))
            clock.advance(1)
        clock.advance(limits.keep[JobState.SUCCEEDED].total_seconds())
        left: list[int] = []
        for _ in range(3):
            store.sweep(2, {})
            left.append(len(store.get(record.id for record in records)))
        assert left == [3, 1, 0]

    def test_records_can_be_pruned_before_their_time(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Those that ended so by then, the oldest first, at most so many."""
        first = finish(store, worker)
        clock.advance(1)
        failed = finish(store, worker, JobState.FAILED)
        clock.advance(1)
        last = finish(store, worker)
        assert store.prune({JobState.SUCCEEDED}, first.finished_at or clock.now(), 10) == 1
        assert is_gone(store, first)
        assert store.prune(FINISHED, clock.now(), 1) == 1
        assert is_gone(store, failed)
        assert store.prune(FINISHED, clock.now(), 10) == 1
        assert is_gone(store, last)
        assert store.prune(FINISHED, clock.now(), 10) == 0

    @pytest.mark.parametrize("state", sorted(frozenset(JobState) - FINISHED))
    def test_nothing_unfinished_is_pruned(
        self, store: Store, clock: PatientClock, worker: str, state: JobState
    ) -> None:
        """Whatever is asked for."""
        record = start(store, worker)._replace(id="a" * 32, state=state)
        store.add([record])
        assert store.prune(frozenset(JobState), clock.now(), 10) == 0
        assert not is_gone(store, record)
