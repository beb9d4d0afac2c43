"""What an engine promises besides whose workers are threads."""

from __future__ import annotations

import threading

from flask_later.core.job import JobState
from flask_later.testing.engine_contract import MakeSystem
from flask_later.testing.engine_contract.base import PATIENCE


class ReplacesThreads:
    def test_a_thread_that_hangs_is_replaced(self, make_system: MakeSystem) -> None:
        """Its attempt has timed out, so another thread takes the next job."""
        system = make_system(LATER_THREADS=1)
        released = threading.Event()

        @system.later.task(timeout=5)
        def hang() -> None:
            system.clock.advance(6)
            assert released.wait(PATIENCE)
            system.seen.append("hung")

        @system.later.task
        def note() -> None:
            system.seen.append("next")

        with system.context():
            hanging, following = hang.enqueue(), note.enqueue()
        try:
            system.all_finished([following])
            assert system.seen == ["next"]
            assert hanging.refresh().state is JobState.FAILED
        finally:
            released.set()
        system.until(lambda: system.seen == ["next", "hung"])
