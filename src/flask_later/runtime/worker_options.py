"""What one process takes."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from typing import NamedTuple

from flask_later.config import Settings
from flask_later.core.store import WorkerRecord


class WorkerOptions(NamedTuple):
    """What one process takes, and how much of it at a time."""

    threads: int
    #: In strict order; None for any queue.
    queues: tuple[str, ...] | None = None
    #: What people see in place of the name of the machine.
    name: str = ""

    @classmethod
    def of(cls, settings: Settings) -> WorkerOptions:
        """What a process does that serves requests as well."""
        return cls(settings.threads, settings.queues)

    def record(self, worker: str, now: datetime) -> WorkerRecord:
        """Return as whom this process registers *worker*."""
        host = self.name or platform.node()
        return WorkerRecord(worker, host, os.getpid(), now, self.queues, self.threads)
