"""Waiting: a wait ends when there is something, and is not needed when there is.

The clock of these tests stands still, and its waits end by a wake or an advance only.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager

from flask_later.core.exchange import Again, Succeeded
from flask_later.core.job import Cancel, Discard
from flask_later.core.store import DUE, Pause, Store
from flask_later.testing.records import make_record

from .base import PATIENCE, ContractBase, PatientClock, attempt, put, settle, start

#: Virtual seconds for which the tests are ready to wait.
LONG = 3600.0


def assert_no_wait(store: Store, clock: PatientClock, *topics: str) -> None:
    """Assert that there is something, so that nobody has to sleep."""
    store.wait(topics, LONG)
    assert not clock.someone_waits.is_set()


@contextmanager
def sleeping(store: Store, clock: PatientClock, topics: Collection[str]) -> Generator[None]:
    """A thread that waits for *topics*, and that the block has to wake."""

    def wait() -> None:
        store.wait(topics, LONG)
        returned.set()
        clock.someone_waits.set()

    returned = threading.Event()
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert clock.someone_waits.wait(PATIENCE)
    yield
    # Less than the patience of the clock, which would end the wait too.
    assert returned.wait(PATIENCE / 2), "nobody woke the thread"
    thread.join()


class WaitingContract(ContractBase):
    def test_a_queue_with_a_job_needs_no_wait(self, store: Store, clock: PatientClock) -> None:
        """Whether the queue was named, or any will do."""
        put(store, make_record(queue="a"))
        assert_no_wait(store, clock, "a")
        assert_no_wait(store, clock, "b", "a")
        assert_no_wait(store, clock)

    def test_a_job_that_is_finished_needs_no_wait(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Whoever asks late is answered at once."""
        running = start(store, worker)
        settle(store, worker, Succeeded(attempt(running), "1"))
        assert_no_wait(store, clock, running.id)

    def test_a_job_that_is_gone_needs_no_wait(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It will not finish any more."""
        running = start(store, worker)
        settle(store, worker, Succeeded(attempt(running), "1"))
        store.command(running.id, Discard())
        assert_no_wait(store, clock, running.id)

    def test_the_time_ends_a_wait(self, store: Store, clock: PatientClock) -> None:
        """An empty queue is waited for as long as was asked."""
        with sleeping(store, clock, ["a"]):
            clock.advance(LONG)

    def test_no_time_is_no_wait(self, store: Store, clock: PatientClock) -> None:
        """It only looks."""
        store.wait(["a"], 0)
        assert not clock.someone_waits.is_set()

    def test_a_wake_ends_a_wait_for_its_queue(self, store: Store, clock: PatientClock) -> None:
        """Who adds wakes after the commit."""
        with sleeping(store, clock, ["a", "b"]):
            put(store, make_record(queue="b"))
            store.wake(["b"])

    def test_a_wake_ends_a_wait_for_any_queue(self, store: Store, clock: PatientClock) -> None:
        """Whichever queue it names."""
        with sleeping(store, clock, []):
            put(store, make_record(queue="b"))
            store.wake(["b"])

    def test_a_wake_of_all_ends_every_wait(self, store: Store, clock: PatientClock) -> None:
        """The process stops: nobody may sleep on."""
        with sleeping(store, clock, ["a"]):
            clock.someone_waits.clear()
            with sleeping(store, clock, ["f" * 31]):
                store.wake([])

    def test_closing_ends_every_wait(self, store: Store, clock: PatientClock) -> None:
        """There is nothing to come."""
        with sleeping(store, clock, ["a"]):
            store.close()
        store.open()

    def test_settling_ends_a_wait_for_the_job(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Nobody has to call wake."""
        running = start(store, worker)
        with sleeping(store, clock, [running.id]):
            settle(store, worker, Succeeded(attempt(running), "1"))

    def test_cancelling_ends_a_wait_for_the_job(self, store: Store, clock: PatientClock) -> None:
        """A cancelled job is finished."""
        (record,) = put(store, make_record())
        with sleeping(store, clock, [record.id]):
            store.command(record.id, Cancel())

    def test_what_another_handle_did_is_seen_in_time(
        self, store: Store, other: Store, clock: PatientClock
    ) -> None:
        """Its wake may be lost, but the table is looked at from time to time."""
        with sleeping(store, clock, ["a"]):
            put(other, make_record(queue="a"))
            other.wake(["a"])
            clock.advance(1)

    def test_a_paused_queue_has_nothing(self, store: Store, clock: PatientClock) -> None:
        """Its jobs cannot be claimed, so who waits for them goes to sleep."""
        put(store, make_record(queue="a"))
        store.queue("a", Pause())
        with sleeping(store, clock, ["a"]):
            assert clock.someone_waits.is_set()
            clock.advance(LONG)

    def test_a_row_that_falls_due_earlier_wakes_who_waits_for_that(
        self, store: Store, clock: PatientClock
    ) -> None:
        """The sweeper sleeps until the next row falls due, and that is another one now."""
        put(store, make_record(delay=1000))
        store.sweep(100, {})
        with sleeping(store, clock, [DUE]):
            put(store, make_record(delay=10))

    def test_a_try_that_falls_due_earlier_wakes_too(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Not only what was added waits for its time."""
        running = start(store, worker)
        put(store, make_record(delay=1000))
        store.sweep(100, {})
        with sleeping(store, clock, [DUE]):
            settle(store, worker, Again(attempt(running), make_record(delay=10).run_at))
