"""The suite of async routes: beside views of the same app, and the recipe that everyone copies."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from operator import sub, truediv

from bench.suite import Conditions, Goal, Step, Suite

Compare = Callable[[float, float], float]

_PEERS = {"wsgi": "called directly", "gunicorn": "over HTTP, gunicorn"}

_FIGURES = {
    "empty": "GET, an empty view, us",
    "dict": "POST, a view that returns a dict, us",
    "enqueue": "the same, and enqueues a job, us",
    "async": "the same as an async route: 202, us",
    "thread": "thread and global dict: 202, us",
    "poll_unchanged": "status, unchanged: 304, us",
    "poll": "status: 200, us",
    "thread_poll": "thread and global dict: status, us",
    "in_flight": "1,000 operations in flight, MB",
    "thread_in_flight": "1,000 threads in flight, MB",
}


def _both(text: str, figure: str, limit: float, beside: str, compare: Compare = sub) -> list[Goal]:
    """Return the same goal for a direct call and over HTTP."""
    return [
        Goal(f"{text}, {_PEERS[peer]}", figure, peer, limit, of=(beside, peer), compare=compare)
        for peer in _PEERS
    ]


@contextmanager
def _prepare(plan: Sequence[Step]) -> Generator[Conditions]:
    yield Conditions(plan, lambda step: {})


ASYNC_ROUTES = Suite(
    name="async_routes",
    plan=[
        *(Step("async_routes", "requests", peer) for peer in _PEERS),
        Step("async_routes", "in_flight", "wsgi", runs=3),
        Step("async_routes", "thread_in_flight", "wsgi", runs=3),
    ],
    peers=_PEERS,
    figures=[_FIGURES],
    goals=[
        *_both("202, more us than dict and enqueue", "async", 300.0, "enqueue"),
        *_both("304 / an empty view", "poll_unchanged", 1.5, "empty", truediv),
        Goal("1,000 operations in flight, MB", "in_flight", "wsgi", 20.0),
    ],
    charts=[],
    packages=("Flask-Later", "Flask", "Werkzeug", "gunicorn"),
    prepare=_prepare,
)
