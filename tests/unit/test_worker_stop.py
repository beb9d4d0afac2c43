"""A stop that comes while the worker is about to claim."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask

from flask_later import JobState, Later
from flask_later.core.clock import VirtualClock
from flask_later.core.store import Handover, Outcome, Want
from flask_later.extension import PREPARED_KEY, Prepared
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
