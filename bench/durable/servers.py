"""A Redis, a RabbitMQ and a PostgreSQL of our own: on free ports, in a folder of this run.

They are gone after it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .place import POSTGRES, RABBIT, REDIS

#: Seconds for one to start.
_PATIENCE = 60.0
#: Debian's /usr/sbin/rabbitmq-server changes to a user and a folder of its own.
_RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
#: Debian's commands of PostgreSQL start the clusters of the system.
_POSTGRES = Path("/usr/lib/postgresql")
#: It refuses to be run by root.
_POSTGRES_USER = "postgres"


#: What is said of one that is not installed.
ABSENT = "no {} here, its peers are left out: make bench-services"


class Servers:
    """Those that could be started, until ``stop()``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        #: What tells a measurement where they are.
        self.environment: dict[str, str] = {}

    def start(self, wanted: Iterable[str]) -> list[str]:
        """Start those of ``redis``, ``rabbit`` and ``postgres`` that are *wanted*.

        Returns those that are not installed.
        """
        starts = {
            "redis": self._start_redis,
            "rabbit": self._start_rabbit,
            "postgres": self._start_postgres,
        }
        return [name for name in sorted(wanted) if not starts[name]()]

    def empty_database(self) -> None:
        """Have PostgreSQL forget what the last measurement left there."""
        import psycopg

        server, _, database = self.environment[POSTGRES].rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as db:
            db.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
            db.execute(f"CREATE DATABASE {database}".encode())

    def _start_redis(self) -> bool:
        server = shutil.which("redis-server")
        if server is None:
            return False
        port = _free_port()
        folder = self._make_folder("redis")
        # Its own defaults otherwise; --dir is where its snapshots go.
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._run([server, *options], {}, folder, port)
        self.environment[REDIS] = f"redis://127.0.0.1:{port}/0"
        return True

    def _start_rabbit(self) -> bool:
        epmd = shutil.which("epmd")
        if not _RABBIT.exists() or epmd is None:
            return False
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
        return True

    def _start_postgres(self) -> bool:
        programs = [*_POSTGRES.glob("*/bin/initdb")]
        if not programs:
            return False
        initdb = max(programs, key=lambda path: int(path.parts[-3]))
        port = _free_port()
        folder = self._make_folder("postgres")
        user = _POSTGRES_USER if os.geteuid() == 0 else None
        if user is not None:
            # It has to get there.
            self._folder.chmod(0o711)
            shutil.chown(folder, user)
        make = [str(initdb), "-D", "data", "-U", "bench", "-A", "trust", "--locale=C", "-E", "UTF8"]
        subprocess.run(make, cwd=folder, user=user, check=True, stdout=subprocess.DEVNULL)
        # Its own defaults otherwise, so a commit waits for the disk.
        options = ["-D", "data", "-p", str(port), "-h", "127.0.0.1", "-k", ""]
        self._run([str(initdb.with_name("postgres")), *options], {}, folder, port, user)
        self.environment[POSTGRES] = f"postgresql://bench@127.0.0.1:{port}/bench"
        return True

    def _make_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def _run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        port: int,
        user: str | None = None,
    ) -> None:
        log = folder / "out"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                cwd=folder,
                stdout=out,
                stderr=out,
                user=user,
                process_group=0,
            )
        self._processes.append(process)
        deadline = time.monotonic() + _PATIENCE
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)

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
