"""How workers of this very process die, to the eyes of a SQLite store."""

from __future__ import annotations

from flask_later.stores.sqlite import SQLiteStore


def end_process(store: SQLiteStore, *workers: str) -> None:
    """Drop the locks of *workers*, or of all of the store's, as the kernel does at their end."""
    registered = store._workers
    for worker in workers or [*registered._slots]:
        registered._locks.release(registered._slots[worker])
