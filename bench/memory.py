"""The suite of queues that live in one process: ours on the memory store beside executors."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from operator import sub

from .suite import Chart, Conditions, Goal, Step, Suite

_MEASURES = ("enqueue", "throughput", "pickup", "memory")

_PEERS = {
    "ours": "ours",
    "ours_in_request": "ours, in a request",
    "tpe": "TPE",
    "flask_executor": "Flask-Executor",
    "huey": "Huey",
    "floor": "(floor)",
}

_GOALS = [
    Goal("enqueue p50 / TPE's submit", "enqueue_p50", "ours", 3.0, of=("enqueue_p50", "tpe")),
    Goal(
        "enqueue p50 / Flask-Executor's",
        "enqueue_p50",
        "ours",
        1 / 3,
        of=("enqueue_p50", "flask_executor"),
    ),
    Goal("enqueue mean / TPE's", "enqueue_mean", "ours", 1.0, of=("enqueue_mean", "tpe")),
    Goal(
        "jobs per second / TPE",
        "jobs_per_second",
        "ours",
        0.7,
        at_least=True,
        of=("jobs_per_second", "tpe"),
    ),
    Goal(
        "jobs per second / Flask-Executor",
        "jobs_per_second",
        "ours",
        5.0,
        at_least=True,
        of=("jobs_per_second", "flask_executor"),
    ),
    Goal("pickup p50 / TPE's", "pickup_p50", "ours", 1.0, of=("pickup_p50", "tpe")),
    Goal("memory of queued jobs / TPE's", "memory", "ours", 0.4, of=("memory", "tpe")),
    Goal(
        "request that uses nothing, more us",
        "web_nothing",
        "ours",
        3.0,
        of=("web_bare", "ours"),
        compare=sub,
    ),
    Goal(
        "request with a callback, more us",
        "web_callback",
        "ours",
        10.0,
        of=("web_bare", "ours"),
        compare=sub,
    ),
]

_FIGURES = {
    "enqueue_p50": "enqueue p50, us",
    "enqueue_p99": "enqueue p99, us",
    "enqueue_mean": "enqueue mean, us",
    "jobs_per_second": "no-op jobs per second",
    "cpu_per_job": "CPU per job, us",
    "pickup_p50": "pickup p50, us",
    "pickup_p99": "pickup p99, us",
    "idle_enqueue_p50": "the call in it, p50, us",
    "idle_switches": "thread switches in it",
    "memory": "MB per 100,000 queued",
    "web_bare": "bare Flask request, us",
    "web_nothing": "with ours, unused, us",
    "web_callback": "leaving a callback, us",
    "web_enqueue": "enqueueing a job, us",
}

_CHARTS = [
    Chart("jobs", "No-op jobs in one process", "jobs_per_second", "jobs per second", True),
    Chart("enqueue", "A call to enqueue", "enqueue_mean", "mean, microseconds"),
    Chart("pickup", "From the call to the job, on an idle system", "pickup_p50", "p50, us"),
    Chart("memory", "Memory of 100,000 jobs that wait", "memory", "megabytes"),
]


@contextmanager
def _prepare(plan: Sequence[Step]) -> Generator[Conditions]:
    yield Conditions(plan, lambda step: {})


MEMORY = Suite(
    name="memory",
    plan=[
        *(Step("memory", measure, peer) for measure in _MEASURES for peer in _PEERS),
        Step("memory", "web", "ours"),
    ],
    peers=_PEERS,
    figures=[_FIGURES],
    goals=_GOALS,
    charts=_CHARTS,
    packages=("Flask-Later", "Flask", "Werkzeug", "Flask-Executor", "huey"),
    prepare=_prepare,
    floor="floor",
)
