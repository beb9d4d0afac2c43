"""What a callback after the response must not be: run while the server closes the response.

The tests of the harness serve it to prove that they would notice.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from events import record
from flask import Flask, Response
from werkzeug.wsgi import ClosingIterator


def wait_for_gate(key: str) -> bool:
    gate = Path(os.environ["LIVE_GATES"]) / key
    deadline = time.monotonic() + float(os.environ["LIVE_PATIENCE"])
    while not gate.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return gate.exists()


def run_callback() -> None:
    record("callback-ended", key="naive", met=wait_for_gate("naive"))


def create_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/length", view_func=lambda: "hello", endpoint="length")
    app.add_url_rule("/stream", view_func=lambda: Response(iter("abc")), endpoint="stream")
    app.add_url_rule("/empty", view_func=lambda: ("", 204), endpoint="empty")
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start: ClosingIterator(inner(environ, start), run_callback)
    return app
