"""Which queues somebody works on, and the warning when nobody does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from flask_later.core.store import QueueStats, Store, WorkerRecord
from flask_later.logs import Log

_logger = Log(__name__)

#: Seconds that a job may wait on a queue that no live worker serves before that is said.
PATIENCE = 60.0


def unserved(
    stats: Sequence[QueueStats], workers: Sequence[WorkerRecord], now: datetime
) -> list[QueueStats]:
    """Return the queues whose jobs have waited for a while, and from which nobody takes.

    A queue that is paused waits because somebody wants it to.
    """
    since = now - timedelta(seconds=PATIENCE)
    return [
        queue
        for queue in stats
        if queue.oldest_run_at is not None
        and queue.oldest_run_at <= since
        and not queue.paused
        and not any(worker.serves(queue.name) for worker in workers)
    ]


def complaint(queue: QueueStats) -> str:
    """Return what to say about an unserved queue."""
    since = f" since {queue.oldest_run_at:%Y-%m-%d %H:%M:%S} UTC" if queue.oldest_run_at else ""
    return (
        f"jobs wait on queue {queue.name!r}{since}, and no live worker serves it. Start one that "
        f"does, such as this one for all queues: flask later worker"
    )


class QueueWatch:
    """Logs a warning once for each queue that nobody serves, and again if it comes back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._again_at = time.monotonic() + PATIENCE
        self._said: set[str] = set()

    def look(self, now: datetime) -> None:
        """Look, at most once a minute, since counting the jobs of a long queue takes a while."""
        if time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + PATIENCE
        self.check(now)

    def check(self, now: datetime) -> None:
        """Look now."""
        workers = self._store.workers()
        if any(worker.queues is None for worker in workers):
            self._said.clear()
            return
        found = unserved(self._store.stats(), workers, now)
        for queue in found:
            if queue.name not in self._said:
                _logger.warning("%s", complaint(queue))
        self._said = {queue.name for queue in found}
