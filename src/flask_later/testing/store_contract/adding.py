"""Adding: ids are idempotent, unique keys are unique, limits hold, nothing is half done."""

from __future__ import annotations

import pytest

from flask_later.core.exchange import Succeeded
from flask_later.core.job import Cancel, JobState
from flask_later.core.store import Added, Limits, Store
from flask_later.errors import QueueFullError
from flask_later.testing.records import make_full_record, make_record

from .base import ContractBase, attempt, claim, is_gone, now_of, put, settle, start


class AddingContract(ContractBase):
    def test_an_added_job_is_found_by_every_handle(self, store: Store, other: Store) -> None:
        """What add has answered is there for all who share the store."""
        record = make_record()
        (added,) = store.add([record])
        assert added == Added(record, True)
        assert other.get([record.id]) == {record.id: record}

    def test_adding_nothing_does_nothing(self, store: Store) -> None:
        """An empty batch is no error."""
        assert list(store.add([])) == []

    def test_every_field_makes_the_round_trip(self, store: Store) -> None:
        """No field is lost, none comes back as another type."""
        record = make_full_record()
        store.add([record])
        stored = now_of(store, record)
        assert stored == record
        assert [type(value) for value in stored] == [type(value) for value in record]

    def test_empty_fields_make_the_round_trip(self, store: Store) -> None:
        """None stays None, and an empty text stays an empty text."""
        record = make_record(payload="", context="", schedule="", parked_for="")
        store.add([record])
        assert now_of(store, record) == record

    @pytest.mark.parametrize(
        "text",
        ["nul\0byte", "'; DROP TABLE job; --", "%_\\", "\U0001f40d", "e\u0301", "\ud800", "\uffff"],
        ids=["nul", "quote", "wildcard", "astral", "combining", "surrogate", "noncharacter"],
    )
    def test_hostile_text_is_only_text(self, store: Store, worker: str, text: str) -> None:
        """Any string may be a task, a queue, a unique key, and comes back as it was."""
        record = make_record(task=text, queue=text, unique_key=text, schedule=text)
        twin = make_record(unique_key=text)
        store.add([record])
        assert now_of(store, record) == record
        assert store.add([twin])[0] == Added(record, False)
        assert [job.id for job in claim(store, worker, 5, (text,))] == [record.id]

    def test_unique_keys_are_compared_to_the_letter(self, store: Store) -> None:
        """Keys that only look alike are different keys."""
        keys = ["key", "KEY", "key ", "key\0", "ke\u0301y", "k\u00e9y", ""]
        added = store.add([make_record(unique_key=key) for key in keys])
        assert [each.created for each in added] == [True] * len(keys)

    def test_adding_again_changes_nothing(self, store: Store, worker: str) -> None:
        """A batch repeated after a lost answer is answered with the jobs as they are now."""
        record = make_record()
        store.add([record])
        (running,) = claim(store, worker)
        assert list(store.add([record])) == [Added(running, False)]
        assert now_of(store, record) == running

    def test_the_same_id_twice_in_a_batch_is_one_job(self, store: Store) -> None:
        """The first of them is stored."""
        record = make_record()
        added = store.add([record, record._replace(task="another")])
        assert list(added) == [Added(record, True), Added(record, False)]

    def test_answers_come_in_the_order_of_the_records(self, store: Store) -> None:
        """Also where some were there before."""
        old = make_record()
        store.add([old])
        batch = [make_record(), old, make_record()]
        added = store.add(batch)
        assert [each.record.id for each in added] == [record.id for record in batch]
        assert [each.created for each in added] == [True, False, True]

    @pytest.mark.parametrize(
        "state",
        [
            JobState.HELD,
            JobState.SCHEDULED,
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.PARKED,
        ],
    )
    def test_an_unfinished_job_holds_its_unique_key(self, store: Store, state: JobState) -> None:
        """A second job with the key is not stored; the answer is the first."""
        first, second = make_record(unique_key="k", state=state), make_record(unique_key="k")
        store.add([first])
        assert list(store.add([second])) == [Added(first, False)]
        assert is_gone(store, second)

    def test_a_unique_key_holds_within_a_batch(self, store: Store) -> None:
        """The first of the batch is stored."""
        first, second = make_record(unique_key="k"), make_record(unique_key="k")
        assert list(store.add([first, second])) == [Added(first, True), Added(first, False)]

    def test_a_finished_job_gives_its_unique_key_back(self, store: Store, worker: str) -> None:
        """Once it has ended, however it did, another job may take the key."""
        running = start(store, worker, make_record(unique_key="k"))
        settle(store, worker, Succeeded(attempt(running), "1"))
        (second,) = put(store, make_record(unique_key="k"))
        store.command(second.id, Cancel())
        assert store.add([make_record(unique_key="k")])[0].created

    def test_a_job_that_ran_before_its_key_was_taken_again_stays(
        self, store: Store, worker: str
    ) -> None:
        """Finished jobs share a key with each other and with one that is not finished."""
        for _ in range(2):
            running = start(store, worker, make_record(unique_key="k"))
            settle(store, worker, Succeeded(attempt(running), "1"))
        assert store.add([make_record(unique_key="k")])[0].created
        assert len(store.find().records) == 3

    def test_one_job_too_many_is_refused(self, store: Store, limits: Limits) -> None:
        """The error says how many wait and how many may."""
        store.add([make_record() for _ in range(limits.max_pending)])
        with pytest.raises(QueueFullError) as caught:
            store.add([make_record()])
        error = caught.value
        assert (error.pending, error.limit) == (limits.max_pending,) * 2
        assert error.size == 1

    def test_a_batch_that_does_not_fit_stores_nothing(self, store: Store, limits: Limits) -> None:
        """All of it or none."""
        put(store, make_record())
        batch = [make_record() for _ in range(limits.max_pending)]
        with pytest.raises(QueueFullError) as caught:
            store.add([*batch, batch[0]])
        assert (caught.value.pending, caught.value.size) == (1, limits.max_pending)
        assert not store.get([record.id for record in batch])
        assert len(store.find().records) == 1

    def test_a_batch_needs_room_for_what_it_stores(self, store: Store, limits: Limits) -> None:
        """Not for the same job, or the same unique key, twice."""
        store.add([make_record() for _ in range(limits.max_pending - 2)])
        first, second = make_record(unique_key="k"), make_record()
        added = store.add([first, make_record(unique_key="k"), second, second])
        assert [each.created for each in added] == [True, False, True, False]

    @pytest.mark.parametrize("state", [JobState.HELD, JobState.SCHEDULED, JobState.QUEUED])
    def test_every_waiting_job_counts(self, store: Store, limits: Limits, state: JobState) -> None:
        """Held and scheduled jobs take a place as queued ones do."""
        store.add([make_record(state=state) for _ in range(limits.max_pending)])
        with pytest.raises(QueueFullError):
            store.add([make_record()])

    def test_jobs_that_do_not_wait_take_no_place(
        self, store: Store, worker: str, limits: Limits
    ) -> None:
        """A running job and a finished one leave room for others."""
        store.add([make_record() for _ in range(limits.max_pending)])
        running, ended = claim(store, worker, 2)
        settle(store, worker, Succeeded(attempt(ended), "1"))
        assert all(each.created for each in store.add([make_record(), make_record()]))
        assert now_of(store, running).state is JobState.RUNNING

    def test_adding_again_is_answered_by_a_full_store(self, store: Store, limits: Limits) -> None:
        """A repeated batch needs no room: its jobs are there already."""
        batch = [make_record() for _ in range(limits.max_pending)]
        store.add(batch)
        assert [each.created for each in store.add(batch)] == [False] * limits.max_pending

    def test_adding_again_is_answered_by_an_overfull_store(
        self, store: Store, worker: str, limits: Limits
    ) -> None:
        """A job that was given back takes a place that another has taken meanwhile."""
        batch = [make_record() for _ in range(limits.max_pending)]
        store.add(batch)
        claim(store, worker)
        store.add([make_record()])
        store.retire(worker)
        assert [each.created for each in store.add(batch)] == [False] * limits.max_pending
        assert list(store.add([])) == []

    def test_what_a_store_answers_is_a_copy(self, store: Store) -> None:
        """The ids of a batch may be an iterator, and a batch a list that its owner changes."""
        record = make_record()
        batch = [record]
        store.add(batch)
        batch.clear()
        assert store.get(iter([record.id])) == {record.id: record}
