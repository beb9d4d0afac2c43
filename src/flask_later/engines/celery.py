"""Celery brings the hints: one task on its workers, which asks the store for the work.

The message is acknowledged before anything runs, is never retried, and has no result: whatever
Celery does to it costs a moment and no job.
"""

# Celery has no types.
# pyright: basic

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from celery import Celery

from flask_later.core.engine import Run
from flask_later.core.job import Hint
from flask_later.core.store import Store
from flask_later.engines.address import require_address
from flask_later.engines.brokered import DEFAULT_QUEUE, BrokeredEngine
from flask_later.engines.celery_threads import CeleryThreads
from flask_later.engines.restarts import Restarts
from flask_later.errors import InvalidSettingError, NotInstalledError, UnsupportedError

#: The one task that Celery knows.
TASK = "flask_later.hint"
#: Celery's limits are out of the way: a timeout is ours to keep. 0 would mean the pool's own.
_YEARS = 10 * 365 * 86_400
#: Seconds for a connection, and for an answer.
_CONNECT, _ANSWER = 1.0, 1.0
#: For a connection through which a hint is sent: it goes on without.
_ONE_TRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
_KINDS = ("redis", "amqp", "rediss", "amqps", "pyamqp", "redis+socket")


class CeleryEngine(BrokeredEngine):
    """Sends hints to Celery workers, or is one.

    :param broker: the URL of the broker, or the app's own ``Celery``.
    """

    def __init__(self, broker: object, queues: Sequence[str] | None = None) -> None:
        self.celery = _celery(broker)
        _require_json(self.celery)
        super().__init__(_place(self.celery), queues)
        for name in self.broker_queues:
            # A worker takes from them as well, unless it is told its queues.
            self.celery.amqp.queues.select_add(name)

    def bind(self, run: Run, store: Store) -> None:
        super().bind(run, store)

        def take(store: str, queue: str, job_id: str, fence: int) -> None:
            self.drains.work_off(Hint(store, queue, job_id, fence))

        # The app may have been made before in this process, on the same Celery.
        self.celery.tasks.pop(TASK, None)
        self.task: Any = self.celery.task(
            take,
            name=TASK,
            acks_late=False,
            ignore_result=True,
            lazy=False,
            max_retries=0,
            rate_limit=None,
            serializer="json",
            shared=False,
            soft_time_limit=_YEARS,
            time_limit=_YEARS,
            track_started=False,
            typing=False,
        )

    def make_line(self) -> _Line:
        return _Line(self)

    def make_worker(
        self, restarts: Restarts, threads: int, queues: Sequence[str], name: str
    ) -> CeleryThreads:
        return CeleryThreads(self.celery, restarts, threads, queues, name)

    def workers(self) -> Mapping[str, Collection[str]]:
        found = self.celery.control.inspect(timeout=_CONNECT).active_queues() or {}
        return {name: {queue["name"] for queue in queues} for name, queues in found.items()}


class _Line:
    """A connection of its own: Celery's would wait for longer than a request may."""

    def __init__(self, engine: CeleryEngine) -> None:
        self._engine = engine
        celery = engine.celery
        is_redis = celery.connection_for_write().transport.driver_type == "redis"
        timeouts = (
            {"socket_connect_timeout": _CONNECT, "socket_timeout": _ANSWER}
            if is_redis
            else {"read_timeout": _ANSWER, "write_timeout": _ANSWER}
        )
        self._connection = celery.connection_for_write(
            connect_timeout=_CONNECT, heartbeat=0, transport_options={**timeouts, **_ONE_TRY}
        )
        try:
            self._producer = celery.amqp.Producer(self._connection)
            for name in engine.broker_queues:
                self._producer.maybe_declare(celery.amqp.queues[name])
        except BaseException:
            self.close()
            raise

    def send(self, hint: Hint) -> None:
        queue = self._engine.broker_queue(hint.queue)
        self._engine.task.apply_async(hint, producer=self._producer, queue=queue, retry=False)

    def waiting(self, queue: str) -> int:
        channel = self._connection.default_channel
        try:
            found = channel.queue_declare(self._engine.broker_queue(queue), passive=True)
        except self._connection.channel_errors:
            # To Redis an empty queue is none.
            return 0
        return cast("int", found.message_count)

    def close(self) -> None:
        self._connection.release()


def _celery(broker: object) -> Celery:
    if isinstance(broker, Celery):
        return broker
    return Celery(
        "flask_later",
        broker=require_address(broker, _KINDS, "Celery"),
        set_as_current=False,
        config_source={
            "accept_content": ["json"],
            "broker_connection_max_retries": None,
            "broker_connection_retry_on_startup": True,
            "result_accept_content": ["json"],
            "task_default_queue": DEFAULT_QUEUE,
            "task_ignore_result": True,
            "task_serializer": "json",
            "worker_enable_prefetch_count_reduction": False,  # see CeleryThreads
            "worker_prefetch_multiplier": 1,
            # A child loads the app before it says that it is there, and Celery's command gives up
            # after four seconds.
            "worker_proc_alive_timeout": 60.0,
        },
    )


def _place(celery: Celery) -> str:
    """Return where the broker is, without a password.

    :raises NotInstalledError: if the library for it is missing.
    :raises InvalidSettingError: for an option that it does not know.
    """
    try:
        connection = celery.connection_for_write()
        place = cast("str", connection.as_uri())
    except ImportError as error:
        raise NotInstalledError("LATER_BROKER", error.name or "redis", "celery") from error
    except TypeError as error:
        # Of what stands behind the ?, Kombu makes arguments of a function.
        value = f"an address with an option that Kombu does not know ({error})"
        raise InvalidSettingError("LATER_BROKER", value, "options such as ?heartbeat=30") from None
    return place if connection.password else place.replace("//:**@", "//")


def _require_json(celery: Celery) -> None:
    """Refuse what would load code from messages.

    :raises UnsupportedError: then.
    """
    loose = sorted({*celery.conf.accept_content} - {"json", "application/json"})
    if loose:
        raise UnsupportedError(
            "LATER_ENGINE = 'celery'",
            f"its Celery app accepts {', '.join(loose)}, so whoever can write to the broker could "
            "run any code",
            "Set accept_content = ['json'] in Celery's configuration.",
        )
