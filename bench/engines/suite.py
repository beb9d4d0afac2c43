"""The suite of engines: ours with PostgreSQL as the store, beside each engine by itself."""

from __future__ import annotations

from operator import sub

from bench.durable.suite import THROUGHPUT
from bench.suite import Chart, Goal, Step, Suite

from .conditions import NEEDS, prepare

#: Engine -> how it is called.
_ENGINES = {
    "celery_redis": "Celery, Redis",
    "celery_rabbit": "Celery, RabbitMQ",
    "rq_redis": "RQ, Redis",
}
_JOBS, _PICKUP = "jobs_per_second", "pickup_p50"
_NATIVE = "ours_native_postgres"


def _more(text: str, ours: str, limit: float, peer: str) -> Goal:
    return Goal(text, _JOBS, ours, limit, at_least=True, of=(_JOBS, peer))


_GOALS = [
    *(
        _more(f"{title}: jobs/s / the bare engine's", f"ours_{name}", 0.7, f"bare_{name}")
        for name, title in _ENGINES.items()
    ),
    _more("native: jobs/s / Procrastinate's", _NATIVE, 3.0, "procrastinate"),
    _more("native: jobs/s / bare Celery's, RabbitMQ", _NATIVE, 1.0, "bare_celery_rabbit"),
    *(
        Goal(
            f"{title}: pickup p50, more us than bare",
            _PICKUP,
            f"ours_{name}",
            2_000.0,
            of=(_PICKUP, f"bare_{name}"),
            compare=sub,
        )
        for name, title in _ENGINES.items()
    ),
]

_FIGURES = [
    THROUGHPUT,
    {
        "drained_10k_per_second": "draining 10,000, jobs/s",
        "pickup_p50": "pickup p50, us",
        "pickup_p99": "p99, us",
        "idle_enqueue_p50": "enqueue p50, us",
    },
]

ENGINES = Suite(
    name="engines",
    plan=[
        Step("engines", measure, peer)
        for measure in ("throughput", "pickup", "drain_10k")
        for peer in NEEDS
    ],
    peers={
        **{
            f"{who}_{name}": f"{'ours, on ' if who == 'ours' else ''}{title}"
            for name, title in _ENGINES.items()
            for who in ("ours", "bare")
        },
        _NATIVE: "ours, native, PostgreSQL",
        "procrastinate": "Procrastinate",
    },
    figures=_FIGURES,
    goals=_GOALS,
    charts=[
        Chart(
            "jobs", "No-op jobs, end to end with a live producer", _JOBS, "jobs per second", True
        ),
        Chart("pickup", "From the call to the job, on an idle system", _PICKUP, "p50, us"),
    ],
    packages=(
        "Flask-Later",
        "Flask",
        "SQLAlchemy",
        "psycopg",
        "celery",
        "rq",
        "procrastinate",
        "redis",
        "hiredis",
    ),
    prepare=prepare,
    quick_runs=1,
    peers_down=True,
)
