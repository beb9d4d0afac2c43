"""What a web process grows by when it does background work as well."""

from __future__ import annotations

import gc
from collections.abc import Callable

from flask import Flask

from bench.figures import Figures

from .cpu import resident
from .rig import rig

_REQUESTS = 2_000


def growth(name: str, _scale: float) -> Figures:
    """Serve requests without us, then as many that enqueue a job each, which run in the process.

    What is imported for the second round counts, since the first would not need it.
    """
    _serve(lambda: "ok")
    before = _resident()
    with rig(name) as it:
        it.start()

        def view() -> str:
            with it.queue.context():
                it.submit(1)
            return "ok"

        done = it.tally.count
        _serve(view)
        it.tally.wait(done + _REQUESTS, 60.0)
        return {"growth": _resident() - before}


def _serve(view: Callable[[], str]) -> None:
    app = Flask("bench")
    app.add_url_rule("/", "view", view)
    client = app.test_client()
    for _ in range(_REQUESTS):
        client.get("/")


def _resident() -> float:
    gc.collect()
    return resident()
