"""No peer but a limit: a bare queue, with the JSON round trip and the app context that we promise.

No id, no record, no states, no result, no limit: what is above this row is what those cost.
"""

from __future__ import annotations

import json
from queue import SimpleQueue
from threading import Thread

from flask import Flask

from . import Job, Payload


class Floor:
    def __init__(self, threads: int, job: Job) -> None:
        self._app = Flask("bench")
        self._job = job
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, payload: Payload) -> None:
        self._queue.put(json.dumps(payload))

    def _work(self) -> None:
        while (text := self._queue.get()) is not None:
            with self._app.app_context():
                json.dumps(self._job(json.loads(text)))

    def stop(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
