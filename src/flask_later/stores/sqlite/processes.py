"""What the kernel tells of other processes and our files: who locks them, and who has which open.

Linux tells it, and only of processes of the same user; elsewhere nothing is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .schema import APPLICATION_ID

_PROC = Path("/proc")
#: What the kernel puts behind the name of a file that is gone.
_GONE = " (deleted)"
#: The byte of the index of the WAL that SQLite locks to write, and those of the database.
_WRITE_LOCK = 120
_PENDING_LOCK = 0x40000000
#: Where SQLite's header says what a file is.
_APPLICATION_ID_AT = 68
#: So many characters of a command are shown.
_LONGEST = 60


class Process(NamedTuple):
    """Another process, as people know it."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


class Elsewhere(NamedTuple):
    """A process of this app that keeps its jobs in another file."""

    process: Process
    file: Path


def writers(path: Path) -> list[Process]:
    """Return who has locked the database at *path* against others that write."""
    shared = _lockers(Path(f"{path}-shm"), _WRITE_LOCK, _WRITE_LOCK)
    pids = shared or _lockers(path, _PENDING_LOCK, _PENDING_LOCK + 511)
    return [_process(pid) for pid in sorted(pids)]


def on_deleted_files(path: Path) -> list[Process]:
    """Return who has a file open that was at *path*, or beside it, and is gone."""
    gone = {f"{path}{ending}{_GONE}" for ending in ("", "-wal", "-shm", "-lock")}
    return [_process(pid) for pid in _pids() if gone & {*_open_files(pid)}]


def elsewhere(path: Path, socket_prefix: str) -> list[Elsewhere]:
    """Return who of this app, by the names of their sockets, has another store than *path* open."""
    sockets = {f"socket:[{inode}]" for inode in _sockets(socket_prefix)}
    found: list[Elsewhere] = []
    for pid in _pids() if sockets else ():
        files = {*_open_files(pid)}
        if files & sockets:
            names = {each.removesuffix("-wal") for each in files if each.endswith("-wal")}
            others = [Path(each) for each in sorted(names - {str(path)}) if is_store(Path(each))]
            found += [Elsewhere(_process(pid), each) for each in others]
    return found


def is_store(file: Path) -> bool:
    """Whether it is a file of ours; the app may have databases of its own."""
    with suppress(OSError), file.open("rb") as database:
        database.seek(_APPLICATION_ID_AT)
        return database.read(4) == APPLICATION_ID.to_bytes(4, "big")
    return False


def _lockers(file: Path, first: int, last: int) -> set[int]:
    """Return who has a byte between *first* and *last* of *file* for himself alone."""
    with suppress(OSError):
        inode = str(file.stat().st_ino)
        lines = (_PROC / "locks").read_text().splitlines()
        return {
            pid
            for pid, where in map(_parse, lines)
            if where is not None and where[0] == inode and where[1] <= last and where[2] >= first
        }
    return set()


def _parse(line: str) -> tuple[int, tuple[str, int, int] | None]:
    """Return the pid of a lock, and the inode and bytes of one that excludes others."""
    fields = line.split()
    # 1: POSIX ADVISORY WRITE 4711 08:01:131 120 120; one that waits has an arrow.
    if len(fields) != 8 or fields[3] != "WRITE" or fields[1] not in ("POSIX", "OFDLCK"):
        return 0, None
    end = 2**63 if fields[7] == "EOF" else int(fields[7])
    return int(fields[4]), (fields[5].rpartition(":")[2], int(fields[6]), end)


def _sockets(prefix: str) -> Iterator[str]:
    """Yield the inodes of the sockets whose name begins so."""
    with suppress(OSError):
        for line in (_PROC / "net" / "unix").read_text().splitlines():
            fields = line.split()
            if fields[-1].startswith(prefix):
                yield fields[6]


def _pids() -> list[int]:
    """Return all processes but this one."""
    with suppress(OSError):
        pids = (int(each.name) for each in _PROC.iterdir() if each.name.isdigit())
        return sorted(pid for pid in pids if pid != os.getpid())
    return []


def _open_files(pid: int) -> Iterator[str]:
    # It may end meanwhile, or be somebody else's.
    with suppress(OSError):
        for each in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                yield str(each.readlink())


def _process(pid: int) -> Process:
    command = "?"
    with suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        command = b" ".join(words).decode(errors="replace") or "?"
    return Process(pid, command if len(command) <= _LONGEST else f"{command[:_LONGEST]}...")
