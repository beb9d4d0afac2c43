"""Huey with its memory storage: pickle, and a consumer that polls, in this process."""

from __future__ import annotations

import logging

from huey import MemoryHuey

from . import Job


class Huey:
    def __init__(self, threads: int, job: Job) -> None:
        # Its INFO lines would be built for each job, though nobody reads them.
        logging.getLogger("huey").setLevel(logging.WARNING)
        huey = MemoryHuey("bench")
        self.submit = huey.task()(job)
        self._consumer = huey.create_consumer(workers=threads, periodic=False)
        self._consumer.start()

    def stop(self) -> None:
        self._consumer.stop(graceful=True)
