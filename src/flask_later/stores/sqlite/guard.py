"""Noticing that the files of a store are not those that were opened.

SQLite goes on as if nothing had happened when its file, or the WAL beside it, is deleted or
replaced: a commit succeeds, into a file that nobody will ever read. So who has committed compares
what the names lead to now.
"""

from __future__ import annotations

from operator import eq
from pathlib import Path
from typing import NamedTuple

#: What follows the name of the database in those of SQLite's files.
_ENDINGS = ("", "-wal", "-shm")


class _Place(NamedTuple):
    device: int
    inode: int


class Guard:
    """Compares the database at *path*, its WAL and its index of the WAL with what they were.

    What one connection opened is remembered for as long as it is open: SQLite itself deletes the
    WAL with its last connection.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [Path(f"{path}{ending}") for ending in _ENDINGS]
        self._opened: list[_Place | None] | None = None
        #: Bytes of the WAL when it was last looked at; it does not shrink when it is used again.
        self.wal_size = 0

    def remember(self) -> None:
        """The files are those that the connection has just opened."""
        self._opened = self._look()

    def forget(self) -> None:
        """The connection is closed."""
        self._opened = None

    def is_lost(self) -> bool:
        """Whether what was written since may have gone where nobody looks."""
        return self._opened is not None and self._look() != self._opened

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
        places: list[_Place | None] = []
        for path in self._paths:
            try:
                status = path.stat()
            except OSError:
                places.append(None)
                continue
            if path is self._paths[1]:
                self.wal_size = status.st_size
            places.append(_Place(status.st_dev, status.st_ino))
        return places
