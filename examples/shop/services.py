"""A PostgreSQL and a Redis for the demo alone: on free ports, in its folder, gone with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from waiting import HOST, PATIENCE, answers, wait_until

#: Who PostgreSQL runs as, where the demo is run by root: it refuses root.
POSTGRES = "postgres"


class MissingError(Exception):
    """Something that the demo needs is not installed."""


class Services:
    """Both, as long as the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.store = ""
        self.broker = ""

    def __enter__(self) -> Self:
        try:
            self.store = self._start_postgresql()
            self.broker = self._start_redis()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End them, the last first."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start_postgresql(self) -> str:
        folder = self._make_folder("postgresql")
        user = POSTGRES if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
            # It has to get there.
            self._folder.chmod(0o711)
        options = ["-D", "data", "-U", "shop", "-A", "trust", "--no-sync"]
        subprocess.run(
            [_program("initdb"), *options], cwd=folder, user=user, check=True, capture_output=True
        )
        port = _free_port()
        settings = (f"-clisten_addresses={HOST}", f"-cport={port}", "-cunix_socket_directories=")
        self._run([_program("postgres"), "-D", "data", *settings], folder, port, user)
        return f"postgresql://shop@{HOST}:{port}/postgres"

    def _start_redis(self) -> str:
        folder, port = self._make_folder("redis"), _free_port()
        options = ("--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", "")
        self._run([_program("redis-server"), *options], folder, port)
        return f"redis://{HOST}:{port}/0"

    def _make_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def _run(
        self, command: Sequence[str], folder: Path, port: int, user: str | None = None
    ) -> None:
        with (self._folder / f"{folder.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=folder, user=user, stdout=log, stderr=log, process_group=0
            )
        self._processes.append(process)
        wait_until(
            lambda: process.poll() is not None or answers(port), f"{command[0]} does not answer"
        )
        if process.poll() is not None:
            raise MissingError(f"{command[0]} does not start")


def _program(name: str) -> str:
    """Return where the program is; Debian hides those of PostgreSQL."""
    hidden = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(hidden[-1]) if hidden else None)
    if found is None:
        raise MissingError(f"{name} is not installed. On Debian, as root: make services")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
