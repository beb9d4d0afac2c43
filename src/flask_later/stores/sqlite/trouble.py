"""What SQLite's errors mean to those who use a store."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

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


def is_corrupt(error: Exception) -> bool:
    """Whether the file is damaged, in SQLite's words or in ours."""
    if isinstance(error, sqlite3.Error):
        return _code(error) in _CORRUPT
    return isinstance(error, StoreCorruptError)


class _Translation:
    """See :func:`translated`. A class, because a generator takes a transaction two microseconds."""

    __slots__ = ("_path", "_patience")

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
            return
        if isinstance(error, sqlite3.DatabaseError):
            raise _translate(error, self._path, self._patience) from error


def translated(path: Path, patience: float) -> AbstractContextManager[None]:
    """Return a context that raises what SQLite raises as a StoreError; a mistake of ours keeps
    looking like one. It may be entered again and again, by many at once.
    """
    return _Translation(path, patience)


def foreign(path: Path, kind: str = "the database of another program") -> StoreMismatchError:
    """Return the error that says that the file is not ours, but of this *kind*."""
    return StoreMismatchError(
        str(path),
        f"it is {kind}. Give the jobs a file of their own: LATER_STORE = 'sqlite:///later.sqlite3'",
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
