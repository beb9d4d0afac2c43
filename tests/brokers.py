"""Real brokers of the tests' own: on free ports, in a folder of theirs, gone with them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from kombu import Connection

B = TypeVar("B", bound="Broker")

#: Seconds for one to start or to end: RabbitMQ needs a minute on a machine that is very busy.
PATIENCE = 180.0
HOST = "127.0.0.1"
#: Debian's /usr/sbin/rabbitmq-server changes to a user and a folder of its own.
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
#: Databases of a Redis: each app of a test has one of its own.
DATABASES = 4096


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Broker:
    """A server in a group of processes of its own, which can be killed and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> Sequence[str]:
        raise NotImplementedError

    @property
    def variables(self) -> Mapping[str, str]:
        return {}

    @property
    def log(self) -> str:
        path = self.folder / "out"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.command[0]} does not start: {self.log[-2000:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), 1.0).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """With SIGKILL, and all of its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class Redis(Broker):
    """Keeps nothing: once it is killed, it has forgotten all."""

    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    password: str = ""

    @property
    def command(self) -> Sequence[str]:
        server = shutil.which("redis-server")
        assert server is not None
        return [
            *(server, "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)),
            *("--save", "", "--databases", str(DATABASES)),
            *(("--requirepass", self.password) if self.password else ()),
        ]

    def url(self, database: int = 0) -> str:
        who = f":{self.password}@" if self.password else ""
        return f"redis://{who}{HOST}:{self.port}/{database}"

    def new_url(self) -> str:
        """Return the URL of a database that nobody has used."""
        return self.url(next(self.numbers))


@dataclass
class RabbitMQ(Broker):
    """With a register of names of its own, or it would leave one behind that lives on."""

    names: int = field(default_factory=free_port)
    peers: int = field(default_factory=free_port)
    register: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> Sequence[str]:
        return [str(RABBIT)]

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),  # of its cookie
            "ERL_EPMD_PORT": str(self.names),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.peers),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_LOGS": "-",
        }

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/%2F"

    def new_url(self) -> str:
        """Return its URL, with nothing in the queue of those who were there before."""
        with Connection(self.url) as connection, suppress(*connection.channel_errors):
            connection.default_channel.queue_purge("default")
        return self.url

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.register is None:
            epmd = shutil.which("epmd")
            assert epmd is not None
            self.register = subprocess.Popen(
                [epmd, "-port", str(self.names), "-address", HOST],
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        super().start()

    def stop(self) -> None:
        super().stop()
        if self.register is not None:
            self.register.terminate()
            self.register.wait(PATIENCE)


@contextmanager
def running_redis(folder: Path, password: str = "") -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: make services")
    yield from _running(Redis(folder, password=password))


@contextmanager
def running_rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    if not RABBIT.exists() or shutil.which("epmd") is None:
        pytest.skip("rabbitmq-server is not installed: make services")
    yield from _running(RabbitMQ(folder))


def _running(broker: B) -> Iterator[B]:
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
