"""The suite of durable queues: ours on SQLite beside what one would install instead."""

from __future__ import annotations

from typing import Any

from bench.suite import Chart, Goal, Step, Suite

from .conditions import prepare

_OURS = ("ours_power", "ours_process")
_EMBEDDED = ("ours_power_embedded", "ours_process_embedded")
_ON_SQLITE = (*_OURS, "huey_sqlite", "huey_sqlite_off")
_ON_BROKERS = (
    "huey_redis",
    "rq_redis",
    "celery_redis",
    "celery_rabbit",
    "dramatiq_redis",
    "dramatiq_rabbit",
)
_WITH_WORKERS = (*_ON_SQLITE, *_ON_BROKERS)


def _steps(measure: str, *peers: str, **options: Any) -> list[Step]:
    return [Step("durable", measure, peer, **options) for peer in peers]


_PLAN = [
    *_steps("throughput", *_WITH_WORKERS, *_EMBEDDED),
    *_steps("enqueue", *_WITH_WORKERS),
    *_steps("crowd", *_OURS, "huey_sqlite", "lock"),
    *_steps("pickup", *_WITH_WORKERS, *_EMBEDDED),
    *_steps("idle", *_WITH_WORKERS, *_EMBEDDED, runs=3, together=True),
    *_steps("drain_10k", *_ON_SQLITE),
    *_steps("drain_100k", *_OURS, "huey_sqlite_off", runs=3, long=True),
    *_steps("drain_1m", *_OURS, runs=2, long=True),
    *_steps("syncs", *_ON_SQLITE, *_EMBEDDED, runs=3),
    *_steps("slow_throughput", *_ON_SQLITE, runs=3),
    *_steps("slow_crowd", *_OURS, "huey_sqlite", "lock", runs=3),
    *_steps("growth", *_EMBEDDED, runs=3),
]


def _short(name: str) -> str:
    return name.removeprefix("ours_").replace("_", ", ")


def _more(text: str, figure: str, ours: str, limit: float, peer: str) -> Goal:
    return Goal(text, figure, ours, limit, at_least=True, of=(figure, peer))


def _less(text: str, figure: str, ours: str, limit: float, peer: str) -> Goal:
    return Goal(text, figure, ours, limit, of=(figure, peer))


def _each(text: str, figure: str, limit: float, *names: str) -> list[Goal]:
    """Return the same goal for several of ours, in absolute numbers."""
    return [Goal(text.format(_short(name)), figure, name, limit) for name in names]


_JOBS, _DRAINED = "jobs_per_second", "drained_100k_per_second"

_GOALS = [
    _more("process: jobs/s / Huey's without fsync", _JOBS, "ours_process", 3.0, "huey_sqlite_off"),
    _more("power: jobs/s / Huey's with fsync", _JOBS, "ours_power", 2.5, "huey_sqlite"),
    _more("power: jobs/s / Dramatiq's, RabbitMQ", _JOBS, "ours_power", 2.0, "dramatiq_rabbit"),
    _less(
        "process: enqueue p50 / Huey's without fsync",
        "enqueue_p50",
        "ours_process",
        0.6,
        "huey_sqlite_off",
    ),
    _less(
        "power: enqueue p50 / Huey's with fsync", "enqueue_p50", "ours_power", 0.75, "huey_sqlite"
    ),
    _more("power: 16 threads / behind one lock", "crowd_per_second", "ours_power", 2.5, "lock"),
    _more("the same, fsync 1 ms slower", "slow_crowd_per_second", "ours_power", 5.0, "lock"),
    *_each("{}: pickup p50, us", "pickup_p50", 500.0, *_EMBEDDED),
    *_each("{}: pickup p99, us", "pickup_p99", 5_000.0, *_EMBEDDED),
    *(
        _less(
            f"{_short(name)}: pickup p50 / Huey's, Redis",
            "pickup_p50",
            name,
            1.0,
            "huey_redis",
        )
        for name in _OURS
    ),
    *_each("{}: pickup p99, us", "pickup_p99", 5_000.0, *_OURS),
    *_each("{}: after 12 s idle, ms", "first_job_ms", 3.0, *_OURS, *_EMBEDDED),
    *_each("{}: idle worker, % of a core", "idle_cpu_percent", 0.05, *_OURS, *_EMBEDDED),
    _more(
        "process: draining / Huey's without fsync", _DRAINED, "ours_process", 3.0, "huey_sqlite_off"
    ),
    Goal(
        "process: draining 1,000,000 / 100,000",
        "drained_1m_per_second",
        "ours_process",
        0.8,
        at_least=True,
        of=(_DRAINED, "ours_process"),
    ),
    _less(
        "process: worker CPU per job / Huey's without",
        "worker_cpu_per_job",
        "ours_process",
        0.35,
        "huey_sqlite_off",
    ),
    _less(
        "power: worker CPU per job / Huey's with",
        "worker_cpu_per_job",
        "ours_power",
        0.35,
        "huey_sqlite",
    ),
    *_each("{}: web process grows, MB", "growth", 10.0, *_EMBEDDED),
]

#: What the measurement of throughput says, and its headings.
THROUGHPUT = {
    "jobs_per_second": "jobs/s",
    "live_jobs_per_second": "while the producer is live",
    "live_enqueues_per_second": "enqueues/s meanwhile",
    "cpu_per_job": "CPU per job, us",
    "worker_cpu_per_job": "the worker's, us",
}
_FIGURES = [
    THROUGHPUT,
    {
        "enqueue_p50": "enqueue p50, us",
        "enqueue_p99": "p99, us",
        "enqueue_mean": "mean, us",
        "idle_enqueue_p50": "p50, idle system, us",
        "crowd_per_second": "16 threads, enqueues/s",
    },
    {
        "pickup_p50": "pickup p50, us",
        "pickup_p99": "p99, us",
        "first_job_ms": "after 12 s idle, ms",
        "idle_cpu_percent": "idle worker, % of a core",
        "growth": "web process grows, MB",
    },
    {
        "drained_10k_per_second": "draining 10,000, jobs/s",
        "drained_100k_per_second": "100,000",
        "drained_1m_per_second": "1,000,000",
        "syncs_per_job": "fsyncs per job",
        "slow_jobs_per_second": "fsync 1 ms slower: jobs/s",
        "slow_crowd_per_second": "16 threads, enqueues/s",
    },
]

_CHARTS = [
    Chart("jobs", "No-op jobs, end to end with a live producer", _JOBS, "jobs per second", True),
    Chart("enqueue", "A call to enqueue, in a loop", "enqueue_p50", "p50, microseconds"),
    Chart(
        "crowd", "16 threads of one process enqueue", "crowd_per_second", "jobs per second", True
    ),
    Chart("pickup", "From the call to the job, on an idle system", "pickup_p50", "p50, us"),
    Chart("first", "The first job after 12 s of idleness", "first_job_ms", "milliseconds"),
    Chart("drain", "Draining a backlog of 100,000 jobs", _DRAINED, "jobs per second", True),
    Chart("cpu", "What a job costs the worker", "worker_cpu_per_job", "CPU, us per job"),
    Chart(
        "slow",
        "Jobs where an fsync takes 1 ms more",
        "slow_jobs_per_second",
        "jobs per second",
        True,
    ),
]

DURABLE = Suite(
    name="durable",
    plan=_PLAN,
    peers={
        "ours_power": "ours, power",
        "ours_process": "ours, process",
        "ours_power_embedded": "ours, power, embedded",
        "ours_process_embedded": "ours, process, embedded",
        "huey_sqlite": "Huey, SQLite",
        "huey_sqlite_off": "Huey, SQLite, no fsync",
        "huey_redis": "Huey, Redis",
        "rq_redis": "RQ, Redis",
        "celery_redis": "Celery, Redis",
        "celery_rabbit": "Celery, RabbitMQ",
        "dramatiq_redis": "Dramatiq, Redis",
        "dramatiq_rabbit": "Dramatiq, RabbitMQ",
        "lock": "(one connection, one lock)",
    },
    figures=_FIGURES,
    goals=_GOALS,
    charts=_CHARTS,
    packages=(
        "Flask-Later",
        "Flask",
        "huey",
        "rq",
        "celery",
        "dramatiq",
        "redis",
        "hiredis",
        "pika",
    ),
    prepare=prepare,
    quick_runs=1,
    peers_down=True,
)
