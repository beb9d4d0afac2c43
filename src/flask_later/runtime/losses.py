"""What goes with a process whose memory is the store."""

from __future__ import annotations

from flask_later.core.store import Store
from flask_later.logs import Log

_logger = Log(__name__)


def count_lost(store: Store) -> int:
    """Return how many jobs end with this process, and say so."""
    pending = sum(
        count
        for queue in store.stats()
        for state, count in queue.counts.items()
        if state in ("queued", "scheduled", "running")
    )
    if pending:
        _logger.warning(
            "jobs are lost with the memory store of this process: %d. "
            "LATER_STORE = 'sqlite:///later.sqlite3' keeps them",
            pending,
        )
    return pending
