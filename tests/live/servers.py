"""Real servers as subprocesses on loopback: how each is started, what it does, how it is stopped.

The numbers behind the table are measured; see "Servers" in the docs.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from .client import Client
from .events import wait_until
from .programs import HERE, Program

HOST = "127.0.0.1"
PYTHON = sys.executable

Command = Callable[[str, int], list[str]]


@dataclass(frozen=True)
class Config:
    """One way to serve the app; ``command`` makes it of the module that has ``create_app``."""

    name: str
    command: Command
    #: The module that must be there.
    needs: str = "flask"
    #: Whether a connection serves a second request.
    keep_alive: bool = True
    #: Processes that serve at a time.
    processes: int = 1
    #: Whether a process other than the one that was started serves.
    has_parent: bool = False
    #: Requests after which a process is replaced. Meanwhile nobody answers.
    recycles_after: int | None = None
    #: Whether work begins without a request, by the line that the docs give for it.
    starts_idle: bool = False

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.needs) is not None


def python(*arguments: str) -> Command:
    """``python -m ...``; the address is filled into the arguments."""
    return lambda module, port: [
        PYTHON,
        "-m",
        *(each.format(module=module, host=HOST, port=port) for each in arguments),
    ]


def gunicorn(*options: str) -> Command:
    return python(
        *("gunicorn", "--bind={host}:{port}", "--no-control-socket", *options),
        "{module}:create_app()",
    )


def uwsgi(listen: str, *options: str) -> Command:
    # Without the hook a SIGTERM during a request runs no exit hook at all.
    hook = "unix_signal:15 gracefully_kill_them_all"
    fixed = ("--master", "--need-app", "--die-on-term", "--hook-master-start", hook)
    path = str(Path(PYTHON).with_name("pyuwsgi"))
    return lambda module, port: [
        *(path, listen, f"{HOST}:{port}", *fixed, "--pythonpath", str(HERE)),
        *(each.format(module=module) for each in options),
    ]


def by_name(*configs: Config) -> Mapping[str, Config]:
    return {config.name: config for config in configs}


SERVERS = by_name(
    Config(
        "werkzeug",
        python("flask", "--app={module}", "run", "--host={host}", "--port={port}"),
        keep_alive=False,
    ),
    Config(
        "werkzeug-reloader",
        python("flask", "--app={module}", "run", "--debug", "--host={host}", "--port={port}"),
        keep_alive=False,
        has_parent=True,
    ),
    Config("gunicorn-sync", gunicorn(), needs="gunicorn", keep_alive=False, has_parent=True),
    Config("gunicorn-gthread", gunicorn("--threads=4"), needs="gunicorn", has_parent=True),
    Config(
        "gunicorn-2-workers",
        gunicorn("--threads=4", "--workers=2", "--config=gunicorn_start.py"),
        needs="gunicorn",
        processes=2,
        has_parent=True,
        starts_idle=True,
    ),
    Config(
        "gunicorn-preload",
        gunicorn("--threads=4", "--preload"),
        needs="gunicorn",
        has_parent=True,
    ),
    Config(
        "gunicorn-recycle",
        # A process that replaces another has no request yet: the work that is left needs the line.
        gunicorn("--threads=4", "--max-requests=5", "--config=gunicorn_start.py"),
        needs="gunicorn",
        has_parent=True,
        recycles_after=5,
        starts_idle=True,
    ),
    Config(
        "gunicorn-gevent",
        gunicorn("--worker-class=gevent"),
        needs="gevent",
        has_parent=True,
    ),
    Config(
        "uwsgi",
        uwsgi("--http-socket", "--threads=4", "--module=uwsgi_start"),
        needs="pyuwsgi",
        keep_alive=False,
        has_parent=True,
        starts_idle=True,
    ),
    Config(
        "uwsgi-lazy",
        uwsgi(
            *("--http", "--http-keepalive"),
            *("--threads=4", "--lazy-apps", "--module={module}:create_app()"),
        ),
        needs="pyuwsgi",
        has_parent=True,
    ),
    Config(
        "waitress",
        python("waitress", "--listen={host}:{port}", "--call", "{module}:create_app"),
        needs="waitress",
    ),
    Config(
        "granian",
        python(
            *("granian", "--interface=wsgi", "--host={host}", "--port={port}"),
            *("--blocking-threads=4", "--factory", "{module}:create_app"),
        ),
        needs="granian",
        has_parent=True,
    ),
    Config(
        "cheroot",
        lambda module, port: [PYTHON, "serve_cheroot.py", module, HOST, str(port)],
        needs="cheroot",
    ),
)

#: Those on which something is different; they have tests of their own.
OTHERS = by_name(
    Config(
        "werkzeug-app-run",
        lambda module, port: [PYTHON, "serve_werkzeug.py", "debug", HOST, str(port)],
        keep_alive=False,
        has_parent=True,
    ),
    Config(
        "werkzeug-processes",
        lambda module, port: [PYTHON, "serve_werkzeug.py", "processes", HOST, str(port)],
        keep_alive=False,
    ),
    Config(
        "uwsgi-threadless",
        uwsgi("--http-socket", "--module=uwsgi_threadless"),
        needs="pyuwsgi",
        keep_alive=False,
        has_parent=True,
    ),
)

#: Under the reloader.
DEVELOPMENT = ("werkzeug-reloader", "werkzeug-app-run")

#: The few that every supported Python and Flask runs.
SMOKE = ("werkzeug", "gunicorn-2-workers", "uwsgi", "waitress")


def each_server(
    where: Callable[[Config], bool] = lambda config: True, *, smoke: bool = False
) -> list[Any]:
    """What ``parametrize`` takes."""
    return [
        pytest.param(name, marks=[pytest.mark.smoke] if smoke and name in SMOKE else [])
        for name, config in SERVERS.items()
        if where(config)
    ]


@dataclass(kw_only=True)
class Server(Program):
    """A server that answers while the context lasts. A second one on the same folder is a restart.

    ``module`` has the ``create_app``.
    """

    config: Config
    module: str = "app"
    port: int = 0

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def command(self) -> Sequence[str]:
        return self.config.command(self.module, self.port)

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def client(self, timeout: float | None = None) -> Client:
        return Client(self.address) if timeout is None else Client(self.address, timeout)

    def ask(self, path: str) -> str:
        """What a GET answers, on a connection of its own."""
        with self.client() as client:
            return client.get(path).text

    def post(self, path: str) -> str:
        """What a POST answers, on a connection of its own."""
        with self.client() as client:
            response = client.post(path)
        assert response.status == 200, response
        return response.text

    def state_of(self, job: str) -> dict[str, object]:
        """What the app says about a job."""
        state: dict[str, object] = json.loads(self.ask(f"/jobs/{job}"))
        return state

    def start(self) -> Self:
        if not self.config.installed:
            pytest.skip(f"{self.config.name}: {self.config.needs} is not installed")
        with socket.socket() as reservation:
            # Bound and never listening: nobody else is given the port, and the server can have it.
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reservation.bind((HOST, 0))
            self.port = reservation.getsockname()[1]
            super().start()
            wait_until(self._answers, lambda: f"{self.config.name} does not listen\n{self.log}")
        return self

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for the end of the process, and until none of its children listens any more."""
        code = super().wait(timeout)
        wait_until(lambda: not self._listens(), "its children have ended as well")
        return code

    def _answers(self) -> bool:
        if not self.runs:
            raise AssertionError(f"{self.config.name} ended at its start\n{self.log}")
        return self._listens()

    def _listens(self) -> bool:
        try:
            socket.create_connection(self.address, timeout=1.0).close()
        except OSError:
            return False
        return True
