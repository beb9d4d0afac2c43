"""Hinting again: hints may be lost, so a sweep looks for queues that nobody seems to work on."""

from __future__ import annotations

from flask_later.core.job import Hint, JobRecord, JobState, Resume
from flask_later.core.store import REHINT_AFTER, Pause, Store
from flask_later.testing.records import make_record

from .base import ContractBase, PatientClock, put, start


def hinted(store: Store) -> list[str]:
    """Sweep, and return the ids hinted at, in no order."""
    return sorted(hint.job_id for hint in store.sweep(100, {}).hints)


def ids(*records: JobRecord) -> list[str]:
    return sorted(record.id for record in records)


class RehintingContract(ContractBase):
    def test_a_queue_that_waits_too_long_is_hinted_at_again(
        self, store: Store, clock: PatientClock
    ) -> None:
        """Once for each job that could run, also for those that came later."""
        (oldest,) = put(store, make_record())
        clock.advance(REHINT_AFTER - 1)
        (newer,) = put(store, make_record(at=clock.now()))
        assert hinted(store) == []
        clock.advance(1)
        assert hinted(store) == ids(oldest, newer)

    def test_a_hint_is_the_same_as_the_first(self, store: Store, clock: PatientClock) -> None:
        """It names the store, the queue, the job and its fence."""
        (record,) = put(store, make_record(queue="mail"))
        clock.advance(REHINT_AFTER)
        assert list(store.sweep(100, {}).hints) == [Hint(store.identity, "mail", record.id, 0)]

    def test_one_sweep_hints_again_at_a_time(
        self, store: Store, other: Store, clock: PatientClock
    ) -> None:
        """All others find it done, until the same time has passed once more."""
        (record,) = put(store, make_record())
        clock.advance(2 * REHINT_AFTER)
        assert hinted(store) == ids(record)
        assert hinted(other) == []
        clock.advance(REHINT_AFTER - 1)
        assert hinted(other) == []
        clock.advance(1)
        assert hinted(other) == ids(record)

    def test_a_high_priority_does_not_hide_who_waits(
        self, store: Store, clock: PatientClock
    ) -> None:
        """The oldest counts, and not the one that would run next."""
        (oldest,) = put(store, make_record(priority=-100))
        clock.advance(REHINT_AFTER)
        (best,) = put(store, make_record(at=clock.now(), priority=100))
        assert hinted(store) == ids(oldest, best)

    def test_each_queue_is_hinted_at_in_its_own_time(
        self, store: Store, clock: PatientClock
    ) -> None:
        """That one was hinted at says nothing about another."""
        (mail,) = put(store, make_record(queue="mail"))
        clock.advance(REHINT_AFTER)
        assert hinted(store) == ids(mail)
        (slow,) = put(store, make_record(queue="slow"))
        assert hinted(store) == ids(slow)

    def test_a_paused_queue_is_not_hinted_at(self, store: Store, clock: PatientClock) -> None:
        """Nothing of it could be claimed; once it is resumed, the next sweep hints at it."""
        (record,) = put(store, make_record())
        store.queue("default", Pause())
        clock.advance(REHINT_AFTER)
        assert hinted(store) == []
        store.queue("default", Resume())
        assert hinted(store) == ids(record)

    def test_only_runnable_jobs_are_hinted_at(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Not one that runs, is held, or waits for its time."""
        start(store, worker)
        held = make_record(state=JobState.HELD)
        put(store, held, make_record(delay=REHINT_AFTER + 1))
        clock.advance(REHINT_AFTER)
        assert hinted(store) == []

    def test_what_a_sweep_moves_is_hinted_at_once(self, store: Store, clock: PatientClock) -> None:
        """However late the sweep comes."""
        (record,) = put(store, make_record(delay=1))
        clock.advance(REHINT_AFTER + 2)
        assert hinted(store) == ids(record)
