"""Flask-Later on PostgreSQL, and on each engine."""

from __future__ import annotations

from collections.abc import Mapping

from bench.durable.place import Place

from .ours_queue import OursQueue


class Native(OursQueue):
    name = "ours_native_postgres"

    def settings(self, place: Place) -> Mapping[str, object]:
        return {"LATER_STORE": place.postgres}


class _Brokered(Native):
    engine: str

    def settings(self, place: Place) -> Mapping[str, object]:
        # A queue of the broker that no other measurement has left anything in.
        self.queue = place.name
        return {
            **super().settings(place),
            "LATER_ENGINE": self.engine,
            "LATER_BROKER": self.broker(place),
            "LATER_QUEUES": [place.name],
        }

    def broker(self, place: Place) -> str:
        return place.redis


class CeleryOnRedis(_Brokered):
    name = "ours_celery_redis"
    engine = "celery"


class CeleryOnRabbit(_Brokered):
    name = "ours_celery_rabbit"
    engine = "celery"

    def broker(self, place: Place) -> str:
        return place.rabbit


class RQ(_Brokered):
    name = "ours_rq_redis"
    engine = "rq"
    #: As the pool of RQ that it is compared with.
    processes = 2
