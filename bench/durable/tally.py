"""Counts jobs over all threads and processes, through a small file that all of them map.

Each thread has a slot of its own, so that nobody waits for anybody: what is measured is the queue.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

#: The first slot holds the number of those in use.
_SLOTS = 4096
#: A count and a time, both of eight bytes.
_SLOT = 16


class Tally:
    """The jobs that were called so far, and when the last one was."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "tally", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, _SLOTS * _SLOT)
        memory = memoryview(mmap.mmap(self._file, _SLOTS * _SLOT))
        self._counts, self._times = memory.cast("Q"), memory.cast("d")
        self._lock = threading.Lock()
        self._mine = threading.local()

    def mark(self) -> None:
        """Count a job that begins now."""
        now = time.perf_counter()
        try:
            place = self._mine.place
        except AttributeError:
            place = self._mine.place = self._take_slot()
        self._counts[place] += 1
        self._times[place + 1] = now

    def _take_slot(self) -> int:
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            self._counts[0] += 1
            slot = self._counts[0]
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        return slot * _SLOT // 8

    @property
    def count(self) -> int:
        return sum(self._counts[2 : 2 + 2 * self._counts[0] : 2])

    @property
    def last(self) -> float:
        """When the last job began, in seconds of ``time.perf_counter`` in any process."""
        return max(self._times[3 : 3 + 2 * self._counts[0] : 2], default=0.0)

    def wait(self, jobs: int, seconds: float, pause: float = 0.005) -> None:
        """Sleep until so many jobs have begun."""
        self.wait_until(lambda: self.count >= jobs, seconds, pause)

    def wait_until(self, reached: Callable[[], bool], seconds: float, pause: float) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.count} jobs were called within {seconds:g} s, no more")
            time.sleep(pause)
