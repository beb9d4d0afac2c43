"""RQ brings the hints: one function on its workers, which asks the store for the work.

RQ takes the message off its queue before anything runs, tries nothing again, and keeps no result:
whatever becomes of it costs a moment and no job.
"""

# RQ has types for some of what it takes.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from flask_later.core.job import Hint
from flask_later.engines.brokered import BrokeredEngine
from flask_later.engines.draining import Drains
from flask_later.engines.rq_registration import RegisteredWorker
from flask_later.errors import InvalidSettingError
from flask_later.errors.words import closest, with_article
from flask_later.logs import Log
from flask_later.runtime.threads import ThreadGroup

_logger = Log(__name__)

#: What RQ calls for a hint.
TAKE = "flask_later.engines.rq_worker.take"
#: The drains of the engine that serves on this thread.
serving: ContextVar[Drains | None] = ContextVar("serving", default=None)

#: Seconds for a connection, and for an answer.
_CONNECT, _ANSWER = 1.0, 1.0
#: Seconds that RQ keeps a message that it could not handle, for people to see.
_KEEP = 300
#: Seconds that a thread waits for a message before it looks whether it should end.
_NAP = 1
#: Seconds until a worker that has ended by itself is started again.
_PAUSE = 1.0
#: Seconds without a word after which RQ takes a worker for dead.
_WORKER_TTL = 60
_SCHEMES = ("redis", "rediss", "unix")


class RQEngine(BrokeredEngine):
    """Sends hints to RQ workers, or is one.

    :param broker: the URL of a Redis, or the app's own ``redis.Redis``.
    """

    def __init__(self, broker: object, queues: Sequence[str] | None = None) -> None:
        self._broker = _require_redis(broker)
        super().__init__(_place(self.connect()), queues)

    def connect(self, **options: Any) -> Redis:
        """Return a connection; *options* are for one that we make ourselves."""
        return (
            self._broker
            if isinstance(self._broker, Redis)
            else Redis.from_url(self._broker, **options)
        )

    def make_line(self) -> _Line:
        return _Line(self)

    def make_worker(self, threads: int, queues: Sequence[str], name: str) -> _Worker:
        return _Worker(self, threads, queues, name)

    def workers(self) -> Mapping[str, Collection[str]]:
        redis = self.connect(socket_connect_timeout=_CONNECT, socket_timeout=_ANSWER)
        found = SimpleWorker.all(connection=redis)
        return {worker.name: worker.queue_names() for worker in found}


class _Line:
    def __init__(self, engine: RQEngine) -> None:
        self._engine = engine
        self._redis = engine.connect(
            socket_connect_timeout=_CONNECT, socket_timeout=_ANSWER, retry=Retry(NoBackoff(), 1)
        )
        self._redis.ping()

    def send(self, hint: Hint) -> None:
        self._queue(hint.queue).enqueue_call(
            TAKE, tuple(hint), timeout=-1, result_ttl=0, failure_ttl=_KEEP, description=TAKE
        )

    def waiting(self, queue: str) -> int:
        return self._queue(queue).count

    def close(self) -> None:
        self._redis.close()

    def _queue(self, queue: str) -> Queue:
        name = self._engine.broker_queue(queue)
        return Queue(name, connection=self._redis, serializer=JSONSerializer)


class _ThreadWorker(RegisteredWorker, SimpleWorker):
    """RQ's worker, on a thread that takes no signals."""

    death_penalty_class = TimerDeathPenalty
    max_connection_wait_time = 5.0


class _Worker:
    """An RQ worker on each of some threads of this process, until they are stopped."""

    def __init__(self, engine: RQEngine, threads: int, queues: Sequence[str], name: str) -> None:
        self._engine = engine
        self._queues = queues
        self._name = name
        self._stopping = threading.Event()
        self._group = ThreadGroup("later-worker", threads, self._work)

    def start(self) -> None:
        self._group.start()

    def stop(self, timeout: float) -> None:
        self._stopping.set()
        self._group.join(time.monotonic() + timeout)

    def replace(self, thread: threading.Thread) -> None:
        self._group.replace(thread)

    @property
    def _goes_on(self) -> bool:
        return not self._stopping.is_set() and threading.current_thread() in self._group

    def _work(self) -> None:
        serving.set(self._engine.drains)
        while self._goes_on:
            try:
                self._serve()
            except Exception as error:
                _logger.warning(
                    "the RQ worker of this thread has ended (%s: %s); it is started again in %g s",
                    type(error).__name__,
                    error,
                    _PAUSE,
                )
                self._stopping.wait(_PAUSE)

    def _serve(self) -> None:
        worker = self._make()
        worker.bootstrap(logging_level="WARNING")
        try:
            while self._goes_on:
                # Without a nap it would not hear of the end.
                found = worker.dequeue_job_and_maintain_ttl(_NAP, max_idle_time=_NAP)
                if found is not None:
                    worker.execute_job(*found)
        finally:
            worker.teardown()  # type: ignore[no-untyped-call]

    def _make(self) -> SimpleWorker:
        return _ThreadWorker(
            [*self._queues],
            name=f"{self._name}{threading.get_native_id()}-{time.time_ns()}",
            connection=self._engine.connect(),
            log_job_description=False,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL,
        )


def _require_redis(broker: object) -> str | Redis:
    if isinstance(broker, Redis):
        return broker
    if not isinstance(broker, str):
        raise InvalidSettingError(
            "LATER_BROKER",
            with_article(type(broker).__name__),
            "the URL of a Redis, or the app's own redis.Redis",
        )
    kind = broker.partition("://")[0]
    if kind not in _SCHEMES:
        expected = f"redis://...{closest(kind, _SCHEMES)}".removesuffix(".")
        raise InvalidSettingError("LATER_BROKER", f"of the kind {kind!r}", expected)
    return broker


def _place(connection: Redis) -> str:
    facts = connection.connection_pool.connection_kwargs
    where = facts.get("path") or f"{facts.get('host', 'localhost')}:{facts.get('port', 6379)}"
    return f"redis://{where}/{facts.get('db', 0)}"
