"""What SQLite's errors mean to those who use a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flask_later.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreMismatchError,
    StoreReadOnlyError,
    StoreUncertainError,
)

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds a lock for too long; tried again later, it may work."""
    return _code(error) in _BUSY


@contextmanager
def translated(path: Path, patience: float) -> Generator[None]:
    """Raise what SQLite raises as a StoreError; a mistake of ours keeps looking like one."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.DatabaseError as error:
        raise _translate(error, path, patience) from error


def foreign(path: Path) -> StoreMismatchError:
    """Return the error that says that the file is not ours."""
    return StoreMismatchError(
        str(path),
        "it is the database of another program. Give the jobs a file of their own: "
        "LATER_STORE = 'sqlite:///later.sqlite3'",
    )


def _translate(error: sqlite3.DatabaseError, path: Path, patience: float) -> StoreError:
    code = _code(error)
    if code in _BUSY:
        return StoreBusyError(patience)
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(str(path), "the disk is full")
    if code in _READ_ONLY:
        return StoreReadOnlyError(str(path))
    if code in _CORRUPT:
        return StoreCorruptError(str(path), str(error))
    if code == sqlite3.SQLITE_IOERR:
        return StoreUncertainError(str(path), getattr(error, "sqlite_errorname", str(error)))
    return StoreError(f"{path}: {error}")


def _code(error: sqlite3.Error) -> int:
    # The high bits of a code say more than anyone needs. Errors of the module itself have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
