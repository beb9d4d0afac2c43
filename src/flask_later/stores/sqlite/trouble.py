"""What SQLite's errors mean to those who use a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flask_later.errors import StoreBusyError, StoreError

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds a lock for too long; tried again later, it may work."""
    # The high bits of a code say more than anyone needs. Errors of the module itself have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


@contextmanager
def translated(path: Path, patience: float) -> Generator[None]:
    """Raise what SQLite raises as a StoreError; a mistake of ours keeps looking like one."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.DatabaseError as error:
        if is_busy(error):
            raise StoreBusyError(patience) from error
        raise StoreError(f"{path}: {error}") from error
