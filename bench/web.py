"""What a request costs more because of us: the WSGI callable called directly, without a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder

from flask_later import Later

from .figures import THREADS, Done, Figures, payload
from .peers import Job

#: Requests of a variant in a row, before it is the next one's turn.
BLOCK = 50


def web(_peer: str, scale: float) -> Figures:
    """The variants take turns, block by block; every request is timed.

    A request pays what it does, and the waking of the threads that run what it leaves. These
    run when the block is over: it is shorter than CPython's switch interval of 5 ms, as a request
    is, and a server lets go of the interpreter with each write to its socket.
    """
    done = Done()
    variants = _variants(done.job())
    taken: dict[str, list[list[float]]] = {name: [] for name in variants}
    for block in range(max(20, int(200 * scale)) + 2):
        for name, app in variants.items():
            times = _block(app, done if name in ("callback", "enqueue") else None)
            if block >= 2:  # the first ones start threads and fill caches
                taken[name].append(times)
    return {f"web_{name}": median(map(median, blocks)) for name, blocks in taken.items()}


def callback_request() -> Callable[[], object]:
    """Return what makes one request that leaves a callback."""
    app = _variants(lambda payload: None)["callback"]
    environ = EnvironBuilder().get_environ()
    return lambda: _request(app, environ.copy())


def _variants(job: Job) -> dict[str, Flask]:
    later = Later()
    task = later.task(name="job")(job)

    def nothing() -> str:
        return "ok"

    def callback() -> str:
        later.after_this_response(job, {})
        return "ok"

    def enqueue() -> str:
        task.enqueue(payload())
        return "ok"

    return {
        "bare": _app(nothing),
        "nothing": _app(nothing, later),
        "callback": _app(callback, later),
        "enqueue": _app(enqueue, later),
    }


def _app(view: Callable[[], str], later: Later | None = None) -> Flask:
    app = Flask("bench")
    app.add_url_rule("/", "view", view)
    app.config.update(LATER_STORE="memory://", LATER_MANUAL=False, LATER_THREADS=THREADS)
    if later is not None:
        later.init_app(app)
    return app


def _block(app: Flask, done: Done | None) -> list[float]:
    environ = EnvironBuilder().get_environ()
    clock = time.perf_counter
    taken: list[float] = []
    if done is not None:
        done.expect(BLOCK)
    for _ in range(BLOCK):
        fresh = environ.copy()
        start = clock()
        _request(app, fresh)
        taken.append((clock() - start) * 1e6)
    if done is not None:
        done.wait()
    return taken


def _request(app: Flask, environ: dict[str, Any]) -> None:
    body = app.wsgi_app(environ, _start_response)
    for _chunk in body:
        pass
    body.close()  # type: ignore[attr-defined]


def _start_response(status: str, headers: Iterable[tuple[str, str]], exc_info: Any = None) -> Any:
    if status != "200 OK":
        raise AssertionError(status)
