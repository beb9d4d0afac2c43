"""RQ brings the hints: one function on its workers, which asks the store for the work.

RQ takes the message off its queue before anything runs, tries nothing again, and keeps no result:
whatever becomes of it costs a moment and no job.
"""

# RQ has types for some of what it takes.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from flask_later.core.job import Hint
from flask_later.engines.address import require_address
from flask_later.engines.brokered import BrokeredEngine
from flask_later.engines.restarts import Restarts
from flask_later.engines.rq_threads import RQThreads

#: What RQ calls for a hint.
TAKE = "flask_later.engines.rq_worker.take"

#: Seconds for a connection, and for an answer.
_CONNECT, _ANSWER = 1.0, 1.0
#: Seconds that RQ keeps a message that it could not handle, for people to see.
_KEEP = 300
_KINDS = ("redis", "rediss", "unix")


class RQEngine(BrokeredEngine):
    """Sends hints to RQ workers, or is one.

    :param broker: the URL of a Redis, or the app's own ``redis.Redis``.
    """

    def __init__(self, broker: object, queues: Sequence[str] | None = None) -> None:
        self._own = broker if isinstance(broker, Redis) else None
        self._url = "" if self._own is broker else require_address(broker, _KINDS, "redis.Redis")
        super().__init__(_place(self.connect()), queues)

    def connect(self, **options: Any) -> Redis:
        """Return a connection; *options* are for one that we make ourselves."""
        return Redis.from_url(self._url, **options) if self._own is None else self._own

    def hang_up(self, connection: Redis) -> None:
        """Close *connection*, unless it is the app's: others use it now."""
        if connection is not self._own:
            connection.close()

    def make_line(self) -> _Line:
        return _Line(self)

    def make_worker(
        self, restarts: Restarts, threads: int, queues: Sequence[str], name: str
    ) -> RQThreads:
        return RQThreads(self.connect, self.drains, restarts, threads, queues, name)

    def workers(self) -> Mapping[str, Collection[str]]:
        redis = self.connect(socket_connect_timeout=_CONNECT, socket_timeout=_ANSWER)
        try:
            found = SimpleWorker.all(connection=redis)
            return {worker.name: worker.queue_names() for worker in found}
        finally:
            self.hang_up(redis)


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
        self._engine.hang_up(self._redis)

    def _queue(self, queue: str) -> Queue:
        name = self._engine.broker_queue(queue)
        return Queue(name, connection=self._redis, serializer=JSONSerializer)


def _place(connection: Redis) -> str:
    facts = connection.connection_pool.connection_kwargs
    where = facts.get("path") or f"{facts.get('host', 'localhost')}:{facts.get('port', 6379)}"
    return f"redis://{where}/{facts.get('db', 0)}"
