"""Noticing that the files of a store are not those that were opened.

SQLite goes on as if nothing had happened when its file, or the WAL beside it, is deleted or
replaced: a commit succeeds, into a file that nobody will ever read. So who has committed compares
what the names lead to now.
"""

from __future__ import annotations

import os
import time
from operator import eq
from pathlib import Path
from typing import NamedTuple

#: What follows the name of the database in those of SQLite's files.
_ENDINGS = ("", "-wal", "-shm")
#: Nanoseconds for which the time of a folder may stand still although it changes: where seconds are
#: all that is kept, and where the kernel's ticks are.
_COARSE, _FINE = 2_000_000_000, 50_000_000
_SECOND = 1_000_000_000


class _Place(NamedTuple):
    device: int
    inode: int


class Guard:
    """Compares the database at *path*, its WAL and its index of the WAL with what they were.

    What one connection opened is remembered for as long as it is open: SQLite itself deletes the
    WAL with its last connection. Mostly it is enough to look at their folder: as long as that has
    not changed, the names in it lead to what they led to.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [Path(f"{path}{ending}") for ending in _ENDINGS]
        self._names = [str(each) for each in self._paths]
        self._folder = str(path.parent)
        #: The folder when the files were right, and it had not changed for a while.
        self._trusted: tuple[int, int, int] | None = None
        self._opened: list[_Place | None] | None = None

    def remember(self) -> None:
        """The files are those that the connection has just opened."""
        self._opened = self._look()
        self._trusted = None

    def forget(self) -> None:
        """The connection is closed."""
        self._opened = None

    def is_lost(self) -> bool:
        """Whether what was written since may have gone where nobody looks."""
        if self._opened is None:
            return False
        # Before the files: what changes meanwhile is noticed the next time.
        folder = self._look_at_folder()
        if folder is not None and folder == self._trusted:
            return False
        if self._look() != self._opened:
            return True
        self._trusted = folder if folder is not None and _is_quiet(folder[-1]) else None
        return False

    def set_aside(self) -> None:
        """Take out of the way what belongs to the files that are lost.

        The WAL of one database beside another would be brought into it. An index is of one WAL,
        and other processes may hold on to it; SQLite makes a new one.
        """
        if self._opened is None:
            return
        now = self._look()
        database_is_kept, wal_is_kept, index_is_kept = map(eq, now, self._opened)
        _, wal, index = self._paths
        if wal_is_kept and now[1] is not None and not database_is_kept:
            wal.rename(f"{wal}-lost-{now[1].inode}")
        if index_is_kept:
            index.unlink(missing_ok=True)

    def _look(self) -> list[_Place | None]:
        return [_place(_status(name)) for name in self._names]

    def _look_at_folder(self) -> tuple[int, int, int] | None:
        status = _status(self._folder)
        # Not every system keeps the time of a folder that exactly.
        if status is None or os.name != "posix":
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns


def _is_quiet(changed: int) -> bool:
    """Whether what changes from now on shows in the time of a folder that *changed* then."""
    resolution = _FINE if changed % _SECOND else _COARSE
    return changed < time.time_ns() - resolution


def _status(name: str) -> os.stat_result | None:
    try:
        return os.stat(name)  # noqa: PTH116 - half the time of Path.stat, after each commit
    except OSError:
        return None


def _place(status: os.stat_result | None) -> _Place | None:
    return None if status is None else _Place(status.st_dev, status.st_ino)
