"""An attempt that timed out, while the store takes its time to note that."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

from flask import Flask

from flask_later import JobState, Later, Retry, StopReason
from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import VirtualClock
from flask_later.core.exchange import Again, Claim, Handover, Note, Outcome, Want
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.stores.memory import MemoryStore

#: No test waits so long, unless it fails.
LIMIT = 10.0


class BusyStore(MemoryStore):
    """It settles an attempt that is to run again when the test lets it, and tells of its beats."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.asked, self.free = threading.Event(), threading.Event()
        self.held: list[list[Claim]] = []

    def exchange(self, worker: str, outcomes: Sequence[Outcome], want: Want) -> Handover:
        if any(isinstance(outcome, Again) for outcome in outcomes):
            self.asked.set()
            assert self.free.wait(LIMIT)
        return super().exchange(worker, outcomes, want)

    def note(
        self, worker: str, holding: Collection[Claim], notes: Sequence[Note]
    ) -> Mapping[Claim, StopReason]:
        self.held.append(list(holding))
        return super().note(worker, holding, notes)


def test_an_attempt_is_in_hand_until_it_is_settled() -> None:
    """Beats that left it out would give it back, and its failure would not be counted."""
    app = Flask("shop")
    app.testing = True
    later = Later(app)
    clock = VirtualClock()
    store = BusyStore(clock)
    app.extensions[PREPARED_KEY] = Prepared(clock, store)
    lifecycle: Lifecycle = app.extensions[LIFECYCLE_KEY]

    def watch() -> None:
        lifecycle.serve().worker.watch()

    watcher = threading.Thread(target=watch)

    @later.task(timeout=5, retry=Retry(max_attempts=2, backoff=0))
    def linger() -> None:
        clock.advance(6)
        watcher.start()
        assert store.asked.wait(LIMIT)

    with app.app_context():
        job = linger.enqueue()
    try:
        lifecycle.run()
        lifecycle.serve().worker.beat()
    finally:
        store.free.set()
        watcher.join()
    lifecycle.serve().worker.beat()
    assert store.held == [[Claim(job.id, 1)], []]
    record = job.refresh().record
    assert (record.state, record.attempts, record.failures) == (JobState.QUEUED, 1, 1)
