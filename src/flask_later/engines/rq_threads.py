"""RQ's worker on threads of a process of ours."""

# RQ has types for some of what it takes.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from flask_later.engines.draining import Drains
from flask_later.engines.naming import worker_name
from flask_later.engines.restarts import Restarts
from flask_later.engines.rq_registration import RegisteredWorker
from flask_later.runtime.threads import ThreadGroup

#: The drains of the engine that serves on this thread.
serving: ContextVar[Drains | None] = ContextVar("serving", default=None)

#: Seconds that a thread waits for a message before it looks whether it should end.
_NAP = 1
#: Seconds without a word after which RQ takes a worker for dead.
_WORKER_TTL = 60


class _ThreadWorker(RegisteredWorker, SimpleWorker):
    """RQ's worker, on a thread that takes no signals."""

    death_penalty_class = TimerDeathPenalty
    max_connection_wait_time = 5.0


class RQThreads:
    """An RQ worker on each of some threads of this process, until they are stopped."""

    def __init__(
        self,
        connect: Callable[[], Redis],
        drains: Drains,
        restarts: Restarts,
        threads: int,
        queues: Sequence[str],
        name: str,
    ) -> None:
        self._connect = connect
        self._drains = drains
        self._restarts = restarts
        self._queues = queues
        self._name = name
        self._group = ThreadGroup("later-worker", threads, self._work)

    def start(self) -> None:
        self._group.start()

    def stop(self, timeout: float) -> None:
        self._restarts.stop()
        self._group.join(time.monotonic() + timeout)

    def replace(self, thread: threading.Thread) -> None:
        self._group.replace(thread)

    def _goes_on(self) -> bool:
        return not self._restarts.is_stopping and threading.current_thread() in self._group

    def _work(self) -> None:
        serving.set(self._drains)
        self._restarts.work(self._serve, self._goes_on)

    def _serve(self) -> None:
        worker = self._make()
        worker.bootstrap(logging_level="WARNING")
        try:
            while self._goes_on():
                # Without a nap it would not hear of the end.
                found = worker.dequeue_job_and_maintain_ttl(_NAP, max_idle_time=_NAP)
                if found is not None:
                    worker.execute_job(*found)
        finally:
            worker.teardown()  # type: ignore[no-untyped-call]

    def _make(self) -> SimpleWorker:
        return _ThreadWorker(
            [*self._queues],
            name=worker_name(self._name),
            connection=self._connect(),
            log_job_description=False,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL,
        )
