"""Enqueues in a process that gets no thread any more, and tries to serve."""

from __future__ import annotations

import threading

from app import create_app, effect, later, produce


def start(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


app = create_app()
begin, threading.Thread.start = threading.Thread.start, start
with app.app_context():
    produce(effect)
try:
    later.start(app)
except RuntimeError as error:
    print(error)
# With threads again all begins, without a restart.
threading.Thread.start = begin
with app.app_context():
    produce(effect)
later.start(app)
later.stop(app, 30.0)
