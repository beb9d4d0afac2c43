"""Of one principal only so many jobs may wait."""

from __future__ import annotations

import pytest

from flask_later.core.exchange import Released
from flask_later.core.job import Annotate, Cancel, JobRecord, JobState
from flask_later.core.store import Limits, Store
from flask_later.errors import PrincipalQueueFullError
from flask_later.testing.records import make_record

from .base import ContractBase, attempt, claim, is_gone, now_of, put, settle

#: Looks like another, on a database that compares with care for people.
ANN, ALIKE = "ann", "Ann "


def jobs_of(principal: str, number: int) -> list[JobRecord]:
    return [make_record(principal=principal) for _ in range(number)]


class PrincipalsContract(ContractBase):
    @pytest.fixture
    def most(self, limits: Limits) -> int:
        """Jobs of one principal that may wait."""
        assert limits.max_pending_per_principal is not None
        return limits.max_pending_per_principal

    def test_one_job_of_a_principal_too_many_is_refused(
        self, store: Store, other: Store, most: int
    ) -> None:
        """The error says how many wait and how many may. Others have room."""
        put(store, *jobs_of(ANN, most))
        refused = make_record(principal=ANN)
        with pytest.raises(PrincipalQueueFullError) as caught:
            other.add([refused])
        assert (caught.value.pending, caught.value.limit) == (most, most)
        assert is_gone(store, refused)
        assert all(each.created for each in store.add([*jobs_of(ALIKE, 1), make_record()]))

    def test_a_batch_that_has_one_too_many_stores_nothing(self, store: Store, most: int) -> None:
        """All of it or none, also of the others."""
        batch = [make_record(), *jobs_of(ANN, most + 1)]
        with pytest.raises(PrincipalQueueFullError):
            store.add(batch)
        assert not store.get([record.id for record in batch])

    def test_adding_again_takes_no_place(self, store: Store, most: int) -> None:
        """Neither the same job, nor another with its unique key."""
        first = make_record(principal=ANN, unique_key="k")
        batch = [first, *jobs_of(ANN, most - 1)]
        store.add(batch)
        again = [*batch, make_record(principal=ANN, unique_key="k")]
        assert not any(each.created for each in store.add(again))

    @pytest.mark.parametrize("state", [JobState.HELD, JobState.SCHEDULED, JobState.QUEUED])
    def test_every_waiting_job_of_a_principal_counts(
        self, store: Store, most: int, state: JobState
    ) -> None:
        """Held and scheduled jobs take a place as queued ones do."""
        put(store, *(each._replace(state=state) for each in jobs_of(ANN, most)))
        with pytest.raises(PrincipalQueueFullError):
            store.add(jobs_of(ANN, 1))

    def test_what_has_begun_or_ended_gives_its_place_back(
        self, store: Store, worker: str, most: int
    ) -> None:
        """What is given back takes it again."""
        put(store, *jobs_of(ANN, most))
        running, _ = claim(store, worker, 2)
        waiting = next(each for each in store.find().records if each.state is JobState.QUEUED)
        store.command(waiting.id, Cancel())
        put(store, *jobs_of(ANN, 3))
        settle(store, worker, Released(attempt(running)))
        with pytest.raises(PrincipalQueueFullError):
            store.add(jobs_of(ANN, 1))

    def test_a_job_becomes_one_of_a_principal(self, store: Store, most: int) -> None:
        """From then on it counts."""
        job = make_record()
        put(store, job, *jobs_of(ANN, most - 1))
        after = store.command(job.id, Annotate('{"a": 1}', ANN))
        assert after == job._replace(context='{"a": 1}', principal=ANN) == now_of(store, job)
        with pytest.raises(PrincipalQueueFullError):
            store.add(jobs_of(ANN, 1))

    def test_a_job_cannot_become_one_too_many(self, store: Store, most: int) -> None:
        """It stays as it is."""
        job = make_record()
        put(store, job, *jobs_of(ANN, most))
        with pytest.raises(PrincipalQueueFullError):
            store.command(job.id, Annotate("{}", ANN))
        assert now_of(store, job) == job
