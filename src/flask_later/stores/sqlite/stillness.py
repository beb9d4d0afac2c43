"""Whether anybody has written to a file, for as little as one look at its time."""

from __future__ import annotations

import os
import time

#: Nanoseconds without a change after which nobody is at a commit any more: what is written to the
#: WAL is to be seen a little later only, after the disk has it.
_SETTLED = 2_000_000_000


class Stillness:
    """Of the WAL at *path*."""

    def __init__(self, path: str) -> None:
        self._path = path
        #: What it was when it had settled, and was looked at.
        self._seen: tuple[int, int, int] | None = None

    def lasts(self) -> bool:
        """Whether there is nothing new since the last call, after which the caller has looked.

        False also where that cannot be told by the time of the file.
        """
        try:
            status = os.stat(self._path)  # noqa: PTH116 - twice a second, in an idle process
        except OSError:
            self._seen = None
            return False
        now = (status.st_ino, status.st_size, status.st_mtime_ns)
        if now == self._seen:
            return True
        has_settled = time.time_ns() - status.st_mtime_ns > _SETTLED
        self._seen = now if has_settled else None
        return False

    def forget(self) -> None:
        """The caller has not looked after all."""
        self._seen = None
