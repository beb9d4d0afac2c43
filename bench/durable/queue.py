"""What can be measured: a queue whose producer and worker are processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

from bench.peers import Payload

from .place import Place
from .tally import Tally

#: Name -> where it is. Imported in the processes that measure it, and nowhere else.
QUEUES: Mapping[str, str] = {
    "ours_power": "bench.peers.ours_sqlite:Power",
    "ours_process": "bench.peers.ours_sqlite:Process",
    "ours_power_embedded": "bench.peers.ours_sqlite:PowerEmbedded",
    "ours_process_embedded": "bench.peers.ours_sqlite:ProcessEmbedded",
    "huey_sqlite": "bench.peers.huey_queues:OnSQLite",
    "huey_sqlite_off": "bench.peers.huey_queues:OnSQLiteWithoutSync",
    "huey_redis": "bench.peers.huey_queues:OnRedis",
    "rq_redis": "bench.peers.rq_queue:OnRedis",
    "celery_redis": "bench.peers.celery_queues:OnRedis",
    "celery_rabbit": "bench.peers.celery_queues:OnRabbit",
    "dramatiq_redis": "bench.peers.dramatiq_queues:OnRedis",
    "dramatiq_rabbit": "bench.peers.dramatiq_queues:OnRabbit",
    "lock": "bench.peers.lock:OneConnection",
    "ours_native_postgres": "bench.peers.ours_postgres:Native",
    "ours_celery_redis": "bench.peers.ours_postgres:CeleryOnRedis",
    "ours_celery_rabbit": "bench.peers.ours_postgres:CeleryOnRabbit",
    "ours_rq_redis": "bench.peers.ours_postgres:RQ",
    "bare_celery_redis": "bench.peers.celery_queues:OnRedisWithResults",
    "bare_celery_rabbit": "bench.peers.celery_queues:OnRabbitWithResults",
    "bare_rq_redis": "bench.peers.rq_queue:OnRedis",
    "procrastinate": "bench.peers.procrastinate_queue:OnPostgres",
}


class Queue:
    """A producer's side and a worker's, of which each process uses one, an embedded one both."""

    #: What a view would call.
    submit: Callable[[Payload], object]
    #: Whether the worker's threads are in the process of the producer.
    embedded = False

    def __init__(self, place: Place) -> None:
        raise NotImplementedError

    def serve(self, threads: int) -> None:
        """Do in the producer's process what a web app does before its first request."""

    def context(self) -> AbstractContextManager[object]:
        """Return what each thread that submits has to be in."""
        return nullcontext()

    def fill(self, jobs: int) -> None:
        """Submit so many in the fastest way there is."""
        for _ in range(jobs):
            self.submit(payload())

    def work(self, threads: int) -> None:
        """Be the worker, until killed."""
        raise NotImplementedError


def payload() -> Payload:
    """Return a fresh one for each job, as each view would make it."""
    return {"to": "a@b.c", "n": 1}


def noop(payload: Payload) -> None:
    """Count itself: the job. A function of a module, since some queues find it by its name."""
    _tallies[-1].mark()


#: That of the queue which this process has opened.
_tallies: list[Tally] = []


def open_queue(name: str, place: Place) -> Queue:
    """Return the queue called *name*, whose jobs count themselves in *place*."""
    _tallies.append(Tally(place.folder))
    module, _, attribute = QUEUES[name].partition(":")
    queue: Queue = getattr(import_module(module), attribute)(place)
    return queue
