"""Databases for the tests: private servers on free ports, as a user without rights.

``POSTGRESQL_URL`` and ``MARIADB_URL`` in the environment name others in their place, whose tables
that begin with ``later_`` are emptied.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, delete, inspect, make_url, text, update

from flask_later.stores.sql import tables
from flask_later.stores.sql.address import parse

#: Seconds that a server may take to start, or to stop.
PATIENCE = 120.0
#: Of the user, which no message may show.
PASSWORD = "s3cr3t-w0rd"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stat(pid: int) -> list[str]:
    """Return what the kernel says of a process, behind its name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not only what is left of it until somebody takes note."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def has_stopped(pid: int) -> bool:
    """Whether a process is frozen, or has ended."""
    return _stat(pid)[:1] == ["T"] or not is_alive(pid)


class DatabaseServer(ABC):
    """A server of its own, with an empty database. It may be killed and started again."""

    #: The Debian package.
    package: str
    #: Who it runs as where the tests are run by root.
    user: str
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="later-database-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._is_root = os.geteuid() == 0
        if self._is_root:
            owner = pwd.getpwnam(self.user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        try:
            self._initialize()
            self.start()
            self._create_database()
        except BaseException:
            self.close()
            raise

    @property
    @abstractmethod
    def url(self) -> str:
        """What ``LATER_STORE`` would be."""

    @classmethod
    @abstractmethod
    def is_installed(cls) -> bool: ...

    @abstractmethod
    def _initialize(self) -> None: ...

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    @abstractmethod
    def _admin_url(self) -> str: ...

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command()],
                cwd=self.folder,
                env=self._environment(),
                stdout=log,
                stderr=log,
                user=self.user if self._is_root else None,
                extra_groups=[] if self._is_root else None,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "server.log").read_text(errors="replace"))
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would, but for the system's own memory."""
        assert self._process is not None
        # Each connection of PostgreSQL has a process, which outlives its parent for a moment.
        children = self._children()
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(PATIENCE)
        while any(map(is_alive, children)):
            time.sleep(0.001)

    def _children(self) -> list[int]:
        # Not what the kernel lists as its children: that list has gaps while others end.
        assert self._process is not None
        pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if _stat(pid)[1:2] == [str(self._process.pid)]]

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        # MariaDB removes at its start what it takes for its own old temporary tables: those of the
        # other servers, if they have one folder for them.
        return {**os.environ, "TMPDIR": str(self.folder)}

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            user=self.user if self._is_root else None,
            extra_groups=[] if self._is_root else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()

    def _answers(self) -> bool:
        try:
            with administered(self._admin_url()).connect():
                return True
        except Exception:
            return False

    def _create_database(self) -> None:
        with administered(self._admin_url()).connect() as db:
            db.execute(text("CREATE DATABASE later"))


class PostgreSQL(DatabaseServer):
    package = "postgresql"
    user = "postgres"
    # At once: at SIGTERM it waits until the last client has left.
    stop_signal = signal.SIGINT

    @classmethod
    def is_installed(cls) -> bool:
        return cls._programs() is not None

    @staticmethod
    def _programs() -> Path | None:
        if found := shutil.which("initdb"):
            return Path(found).parent
        folders = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parts[-2])
        )
        return folders[-1] if folders else None

    @property
    def url(self) -> str:
        return f"postgresql://later:{PASSWORD}@127.0.0.1:{self.port}/later"

    def _admin_url(self) -> str:
        return f"postgresql://later:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def _initialize(self) -> None:
        programs = self._programs()
        assert programs is not None
        self._run(
            str(programs / "initdb"),
            *("-D", "data", "-U", "later", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
        )

    def _command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            "log_lock_waits": "on",
        }
        programs = self._programs()
        options = (f"-c{name}={value}" for name, value in settings.items())
        return (f"{programs}/postgres", "-D", "data", *options)


class MariaDB(DatabaseServer):
    package = "mariadb-server"
    user = "mysql"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("mariadb-install-db") is not None

    @property
    def url(self) -> str:
        return f"mariadb://later:{PASSWORD}@127.0.0.1:{self.port}/later"

    def _admin_url(self) -> str:
        return f"mariadb://later:{PASSWORD}@127.0.0.1:{self.port}/mysql"

    def _initialize(self) -> None:
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-flush-log-at-trx-commit=0",
        )
        (self.folder / "users.sql").write_text(
            f"CREATE OR REPLACE USER later@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO later@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        (self.folder / "users.sql").chmod(0o644)

    def _command(self) -> Sequence[str]:
        return (
            shutil.which("mariadbd") or "/usr/sbin/mariadbd",
            "--no-defaults",
            f"--datadir={self.folder}/data",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            f"--init-file={self.folder}/users.sql",
            "--skip-name-resolve",
            # What is committed survives the server, not the system: that spares a sync.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=64M",
            "--max-connections=200",
        )


SERVERS: dict[str, type[DatabaseServer]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}
_running: dict[str, DatabaseServer] = {}


def start(kind: str) -> DatabaseServer:
    """Start a private server; the test is skipped where its package is missing."""
    server = SERVERS[kind]
    if not server.is_installed():
        pytest.skip(f"{server.package} is not installed: make services")
    return server()


def url_of(kind: str) -> str:
    """Return the address of the server that all tests share, which is started if need be."""
    if named := os.environ.get(f"{kind.upper()}_URL"):
        return named
    if kind not in _running:
        _running[kind] = start(kind)
    return _running[kind].url


@contextmanager
def fresh(kind: str) -> Iterator[str]:
    """A database of its own on the shared server, without any table."""
    shared = url_of(kind)
    name = f"later_{secrets.token_hex(6)}"
    with administered(shared).connect() as db:
        db.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(shared).set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        with administered(shared).connect() as db:
            db.execute(text(f"DROP DATABASE {name}{force}"))


def stop_all() -> None:
    """Stop the servers that tests have shared."""
    while _running:
        _running.popitem()[1].close()


def empty(url: str) -> None:
    """Make the store there an empty one."""
    with reached(url).begin() as db:
        if inspect(db).has_table(tables.job.name):
            emptied = (tables.job, tables.log, tables.file, tables.worker, tables.queue)
            for table in (*emptied, tables.schedule, tables.listener):
                db.execute(delete(table))
            db.execute(delete(tables.tally).where(tables.tally.c.id > tables.TALLY_ROWS))
            db.execute(update(tables.tally).values(pending=0))


@cache
def administered(url: str) -> Engine:
    """As :func:`reached`, and each statement is a transaction."""
    return create_engine(parse(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")


@cache
def reached(url: str) -> Engine:
    """Return another program's way to the database: nothing stays open behind a ``with``."""
    return create_engine(parse(url), poolclass=NullPool)
