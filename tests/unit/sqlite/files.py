"""A SQLite file, as a store and as other programs see it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from flask_later.core.clock import SystemClock
from flask_later.stores.sqlite import SQLiteStore


def opened(path: Path) -> SQLiteStore:
    store = SQLiteStore(path, SystemClock())
    store.open()
    return store


def raw(path: Path) -> closing[sqlite3.Connection]:
    """A connection of another program."""
    return closing(sqlite3.connect(path, isolation_level=None))
