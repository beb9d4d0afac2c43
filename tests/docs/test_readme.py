"""Whoever types what the README says gets what the README shows."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.live.events import wait_until
from tests.live.programs import let_interrupts_through

from .pages import ROOT, read
from .test_pages import run_tests

README = read("README.md")
COMMANDS = [command for command, _ in README.commands()]
SERVERS = [command for command in COMMANDS if re.match("(flask|gunicorn) ", command)]
HOST = "127.0.0.1"


@dataclass
class Server:
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log
        with suppress(OSError):
            socket.create_connection((HOST, self.port), timeout=1.0).close()
            return True
        return False

    def curl(self, command: str) -> Any:
        """What ``curl`` of the README gets, from this server."""
        arguments = shlex.split(command)[1:]
        method = "GET"
        if arguments[0] == "-X":
            method, arguments = arguments[1], arguments[2:]
        [url] = arguments
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request(method, urlsplit(url).path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def app_in(folder: Path) -> None:
    (folder / "app.py").write_text(README.program[0].text, encoding="utf-8")


@contextmanager
def serve(command: str, folder: Path) -> Iterator[Server]:
    """Run a server as the README starts it; only its port is another one, said by a variable."""
    let_interrupts_through()
    with socket.socket() as reservation, (folder / "server.log").open("wb") as log:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind((HOST, 0))
        port = reservation.getsockname()[1]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FLASK_")}
        environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "FLASK_RUN_PORT": str(port),
            "GUNICORN_CMD_ARGS": f"--bind={HOST}:{port}",
            # gunicorn puts a control socket there.
            "XDG_RUNTIME_DIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        }
        process = subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = Server(port, process, folder / "server.log")
        try:
            wait_until(server.listens, lambda: f"{command} does not listen\n{server.log}")
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.live
@pytest.mark.parametrize("command", SERVERS)
def test_the_first_five_minutes(tmp_path: Path, command: str) -> None:
    """The transcript with ``curl``, line by line; ids differ, and the job takes its time."""
    app_in(tmp_path)
    ids: dict[str, str] = {}
    with serve(command, tmp_path) as server:
        for typed, printed in README.commands():
            if not typed.startswith("curl "):
                continue
            for shown, real in ids.items():
                typed = typed.replace(shown, real)  # noqa: PLW2901
            expected = json.loads(printed)
            answer = answer_like(server, typed, expected)
            if "job" in expected:
                ids[expected["job"]] = answer["job"]
        assert server.curl("curl http://127.0.0.1:5000/jobs/0")["error"]
        wait_until(lambda: "audit: ada@example.com signed up" in server.log, lambda: server.log)
        assert "still here" in server.log
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
    assert (tmp_path / "instance" / "later.sqlite3").is_file()
    assert "Traceback" not in server.log


def answer_like(server: Server, command: str, expected: dict[str, Any]) -> Any:
    """Ask until the state is the expected one, and check what does not depend on the moment."""

    def ask() -> Any:
        answer = server.curl(command)
        return answer if answer.get("state") == expected.get("state") else None

    answer = wait_until(ask, lambda: f"{command}: {expected}\n{server.log}")
    assert answer.keys() == expected.keys()
    for name in ("attempts", "error"):
        assert answer.get(name) == expected.get(name)
    if expected.get("state") == "succeeded":
        assert answer == expected
    return answer


@pytest.mark.live
def test_the_line_for_gunicorn_begins_without_a_request(tmp_path: Path) -> None:
    """Both workers run the service, and nobody has asked them for anything."""
    app_in(tmp_path)
    conf = README.block_noted("gunicorn.conf.py")
    (tmp_path / "gunicorn.conf.py").write_text(conf.text, encoding="utf-8")
    [command] = [command for command in SERVERS if command.startswith("gunicorn ")]
    with serve(command, tmp_path) as server:
        wait_until(lambda: server.log.count("still here") == 2, lambda: server.log)


def test_its_test_passes(tmp_path: Path) -> None:
    """Next to the app, as a reader would put it."""
    app_in(tmp_path)
    run_tests(tmp_path, README.block_noted("pytest").text)


def test_every_command_is_looked_at() -> None:
    """Those of a server and ``curl`` are run above, installing is what every environment did."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    others = [each for each in COMMANDS if each not in SERVERS and not each.startswith("curl ")]
    assert others.pop(0) == "pip install ."
    assert [each for each in others if each.removeprefix("make ") not in targets] == []
