"""Who sends the requests: straight to the WSGI callable, or over HTTP to gunicorn."""

from __future__ import annotations

import http.client
import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from werkzeug.test import EnvironBuilder

from bench.figures import PATIENCE

from .app import FOLDER, make_app

BODY = b'{"year": 2026}'


class Ask(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str] = {}

    @property
    def body(self) -> bytes:
        return BODY if self.method == "POST" else b""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]


class Client(Protocol):
    def prepare(self, ask: Ask) -> Any:
        """Return what ``send`` takes, so that making it is not measured."""

    def send(self, prepared: Any) -> Answer: ...


class Direct:
    """Calls the WSGI callable, and reads and closes what it returns."""

    def __init__(self, folder: Path, work: threading.Event, *, embedded: bool = False) -> None:
        self._app, self._later = make_app(folder, work, embedded=embedded)

    def prepare(self, ask: Ask) -> dict[str, Any]:
        kind = "application/json" if ask.body else None
        builder = EnvironBuilder(
            ask.path, method=ask.method, data=ask.body, content_type=kind, headers=ask.headers
        )
        return builder.get_environ()

    def send(self, prepared: dict[str, Any]) -> Answer:
        environ = {**prepared, "wsgi.input": io.BytesIO(BODY)}
        said: list[Any] = []
        body = self._app.wsgi_app(
            environ, lambda status, headers, exc_info=None: said.extend((status, headers))
        )
        for _chunk in body:
            pass
        if hasattr(body, "close"):
            body.close()
        status, headers = said
        return Answer(int(status[:3]), dict(headers))

    def stop(self) -> None:
        self._later.stop(self._app)


class OverHTTP:
    """Sends one request after the other on a connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def prepare(self, ask: Ask) -> Ask:
        return ask

    def send(self, prepared: Ask) -> Answer:
        headers = dict(prepared.headers)
        if prepared.body:
            headers["Content-Type"] = "application/json"
        self._connection.request(prepared.method, prepared.path, prepared.body or None, headers)
        answer = self._connection.getresponse()
        answer.read()
        return Answer(answer.status, dict(answer.getheaders()))


@contextmanager
def client(name: str, folder: Path) -> Generator[Client]:
    """Serve the app as *name* says, with a database in *folder*."""
    if name == "gunicorn":
        with _gunicorn(folder) as port:
            yield OverHTTP(port)
        return
    done = threading.Event()
    done.set()
    direct = Direct(folder, done)
    yield direct
    direct.stop()


@contextmanager
def _gunicorn(folder: Path) -> Generator[int]:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    options = ("--threads", "4", "--keep-alive", "60", "--no-control-socket")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "bench.async_routes.app:app"),
            *("--bind", f"127.0.0.1:{port}", "--log-level", "warning", *options),
        ],
        env={**os.environ, FOLDER: str(folder)},
    )
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        time.sleep(0.05)
    raise TimeoutError("gunicorn does not listen")
