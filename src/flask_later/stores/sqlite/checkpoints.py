"""Bringing the WAL into the database, by one process and while nobody writes.

Not by SQLite itself: its checkpoints run beside writers, which in versions before 3.51.3 can
corrupt the file. And not by emptying the WAL: what is allocated can still be written to when the
disk is full, so that outcomes are kept then and old records deleted.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from math import inf
from pathlib import Path

from flask_later.errors import StoreError
from flask_later.logs import Log

from .connection import Connection
from .locks import CHECKPOINT, lock_file

_logger = Log(__name__)

_MB = 1024 * 1024
#: Seconds between two checkpoints of a WAL that is large, or small, in bytes.
_OFTEN, _SELDOM = 5.0, 60.0
_LARGE = 4 * _MB
#: From this size on whoever writes does it, whatever became of the one who should.
IN_BAND = 16 * _MB
#: Seconds between two looks at the size after a commit: nobody writes much in that time.
_LOOK_EVERY = 0.005
#: A WAL of this size for that many seconds is worth a warning.
_HUGE, _LONG = 64 * _MB, 60.0
#: Seconds to wait for those who write, and then for those who read an older state. Meanwhile
#: nobody writes, so not for long; and not too short, for who gives up waiting checkpoints beside
#: those who write.
_PATIENCE = 1.0


class Checkpoints:
    """Those of the store at *path*, as far as this process makes them.

    :param clock: seconds that only go forward.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._wal = Path(f"{path}-wal")
        self._clock = clock
        #: When the WAL was last written to, as of the last checkpoint.
        self._written: int | None = None
        self._next = clock() + _OFTEN
        self._looked_at = -inf
        self._tries = 0
        #: Since when somebody has kept a huge WAL from being used again.
        self._pinned_since: float | None = None
        self._warned = False

    def run_if_due(self) -> bool:
        """Checkpoint if it is time to and this process is the one; return whether it did."""
        if self._clock() < self._next:
            return False
        wal = self._stat()
        if wal is None or wal.st_mtime_ns == self._written:
            return False
        if not self._is_ours():
            return False
        if wal.st_size < _LARGE and self._clock() < self._next + _SELDOM - _OFTEN:
            return False
        self.run()
        return True

    def run_in_band(self) -> None:
        """After a commit, checkpoint if the WAL has grown so much, unless that has just failed."""
        now = self._clock()
        if now - self._looked_at < _LOOK_EVERY or (self._tries and now < self._next):
            return
        self._looked_at = now
        wal = self._stat()
        if wal is not None and wal.st_size > IN_BAND:
            self.run()

    def run(self) -> bool:
        """Checkpoint now; return whether the WAL can be used from its start again."""
        try:
            with closing(Connection(self._path, _PATIENCE)) as db:
                ((busy, _, _),) = db.all("PRAGMA wal_checkpoint(RESTART)")
        except (StoreError, sqlite3.Error):
            # Another process is at it, the disk is full, the file is gone: the next one tries
            # again. What was committed before is stored, so nobody is to hear of an error.
            busy = 1
        wal = self._stat()
        if busy:
            self._put_off(wal.st_size if wal else 0)
        else:
            self._tries, self._pinned_since, self._warned = 0, None, False
            self._next = self._clock() + _OFTEN
            self._written = wal.st_mtime_ns if wal else None
        return not busy

    def _put_off(self, size: int) -> None:
        """Somebody reads an older state. Trying holds up those who write, so not too often."""
        self._tries += 1
        self._next = self._clock() + min(_OFTEN * 2.0 ** (self._tries - 1), _SELDOM)
        if size < _HUGE:
            return
        if self._pinned_since is None:
            self._pinned_since = self._clock()
        if self._clock() - self._pinned_since >= _LONG and not self._warned:
            self._warned = True
            _logger.warning(
                "%s has grown to %d MB and cannot be used again, since somebody has kept reading "
                "an older state of the store for more than %d s. Is it open in another program, "
                "or being copied? Type: fuser %s",
                self._wal,
                size // _MB,
                _LONG,
                self._path,
            )

    def _is_ours(self) -> bool:
        locks = lock_file(self._path)
        # Kept until the process ends: then another takes it over.
        return locks.is_mine(CHECKPOINT) or locks.try_take(CHECKPOINT)

    def _stat(self) -> os.stat_result | None:
        try:
            return self._wal.stat()
        except OSError:
            return None
