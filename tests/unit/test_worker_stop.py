"""A stop that comes while the worker is about to claim, or to lie down."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

from flask import Flask
from tests.shop import PATIENCE, Shop, until

from flask_later import JobState, Later
from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import SystemClock, VirtualClock
from flask_later.core.exchange import Claim, Handover, Note, Outcome, Want
from flask_later.core.job import StopReason
from flask_later.errors import StoreCorruptError
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.stores.memory import MemoryStore


class SlowStore(MemoryStore):
    """A stop begins between the question and the answer of its first claim."""

    lifecycle: Lifecycle

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        if want.limit and self.lifecycle.serve().worker.id == worker:
            self.lifecycle.serve().worker.stop()
        return super().exchange(worker, outcomes, want)


def test_what_is_claimed_while_a_stop_begins_is_given_back() -> None:
    """The process would end in the middle of it: it never begins, and does not count."""
    app = Flask("shop")
    app.testing = True
    later = Later(app)
    seen: list[str] = []
    clock = VirtualClock()
    store = SlowStore(clock)
    store.lifecycle = app.extensions[LIFECYCLE_KEY]
    app.extensions[PREPARED_KEY] = Prepared(clock, store)

    @later.task
    def note() -> None:
        seen.append("ran")

    with app.app_context():
        job = note.enqueue()
    store.lifecycle.run()
    record = job.refresh().record
    assert (record.state, record.attempts, record.releases) == (JobState.QUEUED, 0, 0)
    assert seen == []


def test_what_gives_up_before_its_threads_begin_ends_them() -> None:
    """Maintenance begins earlier, and may be the first to find a file damaged."""
    with Shop(EMBEDDED=False) as shop:
        worker = shop.process.worker
        others = {*threading.enumerate()}
        worker.give_up(StoreCorruptError("later.sqlite3", "is malformed"))
        worker.start()
        until(lambda: not {*threading.enumerate()} - others)


class SleepyStore(MemoryStore):
    """Lets an idle thread lie down only when the stop has called it twice, and for an hour."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.lies_down, self.called = threading.Event(), threading.Event()
        self.calls = 0

    def wait(self, topics: Collection[str], timeout: float) -> None:
        if topics:
            super().wait(topics, timeout)
            return
        self.lies_down.set()
        self.called.wait(PATIENCE)
        super().wait(topics, 3600)

    def wake(self, topics: Collection[str]) -> None:
        super().wake(topics)
        self.calls += self.lies_down.is_set()
        if self.calls == 2:
            self.called.set()


def test_a_thread_that_lies_down_while_it_is_called_is_called_again() -> None:
    """A stop does not wait for one that has nothing to do."""
    with Shop(THREADS=1) as shop:
        app, store = shop.make_app(), SleepyStore()
        app.extensions[PREPARED_KEY] = Prepared(store=store)
        shop.__dict__["app"] = app
        shop.later.start(app)
        assert store.lies_down.wait(PATIENCE)
        stopping = threading.Thread(target=shop.later.stop, args=(app, 3600))
        stopping.start()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()


class LockedStore(MemoryStore):
    """Keeps a beat waiting until the test says so."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.beats, self.unlocked = threading.Event(), threading.Event()

    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        self.beats.set()
        self.unlocked.wait(PATIENCE)
        return super().note(worker, holding, notes)


def test_a_beat_that_waits_for_the_store_does_not_hold_up_a_stop() -> None:
    """The stop waits for the store itself, and that once."""
    with Shop(THREADS=1) as shop:
        app, store = shop.make_app(), LockedStore()
        app.extensions[PREPARED_KEY] = Prepared(store=store)
        shop.__dict__["app"] = app
        gate = shop.gate()
        task = shop.later.task(name="hold")(lambda: gate.wait(PATIENCE) and None)
        shop.later.start(app)
        job = shop.enqueue(task)
        assert store.beats.wait(PATIENCE)
        stopping = threading.Thread(target=shop.later.stop, args=(app, 0.0))
        stopping.start()
        stopping.join(PATIENCE / 2)
        assert not stopping.is_alive()
        assert job.refresh().record.state is JobState.QUEUED
        store.unlocked.set()
