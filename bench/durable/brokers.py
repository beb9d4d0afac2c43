"""A Redis and a RabbitMQ of our own: on free ports, in a folder of this run, gone after it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from .place import RABBIT, REDIS

#: Seconds for one to start.
_PATIENCE = 60.0
#: Debian's /usr/sbin/rabbitmq-server changes to a user and a folder of its own.
_RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Brokers:
    """Those that could be started, until ``stop()``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        #: What tells a measurement where they are.
        self.environment: dict[str, str] = {}

    def start(self, wanted: Sequence[str]) -> None:
        """Start those of ``redis`` and ``rabbit`` that are *wanted* and installed."""
        starts = {"redis": self._start_redis, "rabbit": self._start_rabbit}
        for name in wanted:
            starts[name]()

    def has(self, name: str) -> bool:
        return {"redis": REDIS, "rabbit": RABBIT}[name] in self.environment

    def _start_redis(self) -> None:
        server = shutil.which("redis-server")
        if server is None:
            return
        port = _free_port()
        folder = self._make_folder("redis")
        # Its own defaults otherwise; --dir is where its snapshots go.
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._run([server, *options], {}, folder, port)
        self.environment[REDIS] = f"redis://127.0.0.1:{port}/0"

    def _start_rabbit(self) -> None:
        epmd = shutil.which("epmd")
        if not _RABBIT.exists() or epmd is None:
            return
        folder = self._make_folder("rabbit")
        port, names, peers = _free_port(), _free_port(), _free_port()
        environment = {
            "HOME": str(folder),  # of its cookie
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"bench{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(peers),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_LOGS": "-",
        }
        # Its own register of names, or it would leave one behind that lives on.
        self._run([epmd, "-port", str(names), "-address", "127.0.0.1"], environment, folder, names)
        self._run([str(_RABBIT)], environment, folder, port)
        self.environment[RABBIT] = f"amqp://guest:guest@127.0.0.1:{port}/%2F"

    def _make_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, port: int
    ) -> None:
        log = folder / "out"
        with log.open("ab") as out:
            process = self._start_process(command, environment, out)
        self._processes.append(process)
        deadline = time.monotonic() + _PATIENCE
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)

    @staticmethod
    def _start_process(
        command: Sequence[str], environment: Mapping[str, str], out: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=out, stderr=out, process_group=0
        )

    def stop(self) -> None:
        """End them; the last that was started first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
