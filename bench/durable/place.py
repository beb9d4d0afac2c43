"""Where a queue that is measured lives: a folder on the disk, and the servers of this run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

#: Set by the run for what it starts.
REDIS, RABBIT, POSTGRES = "BENCH_REDIS", "BENCH_RABBIT", "BENCH_POSTGRES"


class Place(NamedTuple):
    """Its name is new for each measurement, so that none finds the jobs of another."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def file(self) -> Path:
        return self.folder / "queue.sqlite3"

    @property
    def redis(self) -> str:
        return os.environ[REDIS]

    @property
    def rabbit(self) -> str:
        return os.environ[RABBIT]

    @property
    def postgres(self) -> str:
        """A database of this measurement alone, empty at first."""
        return os.environ[POSTGRES]
