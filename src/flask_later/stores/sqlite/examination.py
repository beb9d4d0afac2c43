"""What is wrong with a file, for ``flask later doctor``. Nothing is changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from flask_later.core.store import Finding
from flask_later.errors import StoreError

from .connection import Connection
from .file_system import kind_of

#: Before it a WAL could, very rarely, be reset under a reader's feet.
_SAFE_SQLITE = (3, 51, 3)
_LARGE_WAL = 64 * 2**20
_LITTLE_SPACE, _NO_SPACE = 2**30, 64 * 2**20
_MOST_FAULTS = 5


Read = Callable[[], AbstractContextManager[Connection]]


def examine(path: Path, read: Read) -> Iterator[Finding]:
    """Yield findings about the file at *path*, the quick ones first."""
    yield from _sqlite()
    yield from _file(path)
    yield from _space(path)
    yield from _tables(read)
    yield from _integrity(path, read)


def _sqlite() -> Iterator[Finding]:
    here = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        yield Finding(
            "ok", f"{here}; 3.51.3 and later mend a rare fault of checkpoints, if you can choose"
        )
    else:
        yield Finding("ok", here)


def _file(path: Path) -> Iterator[Finding]:
    facts = path.stat()
    kind = kind_of(path)
    yield Finding("ok", f"file: {_size(facts.st_size)}" + (f", on {kind}" if kind else ""))
    if os.name != "posix":
        return
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            "warning",
            "other users of this machine may read the file, and so the arguments of all jobs",
            f"chmod 600 '{path}'",
        )
    if facts.st_uid != os.geteuid():
        yield Finding(
            "warning",
            f"the file belongs to the user {facts.st_uid}, and this process to {os.geteuid()}",
            "Run all processes of the app, and this command, as one user.",
        )
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        yield Finding(
            "error",
            "this process may not write to the file and its folder",
            f"Let it: chown -R {os.geteuid()} '{path.parent}'",
        )


def _space(path: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(path.parent).free
    told = f"disk: {_size(free)} free"
    if free < _LITTLE_SPACE:
        advice = "Free some space; flask later prune deletes finished jobs."
        yield Finding("error" if free < _NO_SPACE else "warning", told, advice)
    else:
        yield Finding("ok", told)
    try:
        wal = Path(f"{path}-wal").stat().st_size
    except OSError:
        wal = 0
    if wal > _LARGE_WAL:
        yield Finding(
            "warning",
            f"the WAL has {_size(wal)}: somebody reads without an end, and holds it up",
            "Look for programs that have the file open: lsof " + f"'{path}'",
        )
    else:
        yield Finding("ok", f"WAL: {_size(wal)}")


def _tables(read: Read) -> Iterator[Finding]:
    # Nothing is told while a transaction is open: who reads may take his time.
    with read() as db:
        ((mode,),) = db.all("PRAGMA journal_mode")
        ((oldest_code,),) = db.all("PRAGMA user_version")
        tables = db.one("SELECT value FROM meta WHERE key = 'tables'")
        ((free,),) = db.all("PRAGMA freelist_count")
        ((size,),) = db.all("PRAGMA page_size")
    if mode != "wal":
        yield Finding(
            "error",
            f"the journal mode is {mode!r}, so readers and writers wait for each other",
            "Somebody has changed it. Restart the processes of the app: they set it again.",
        )
    yield Finding(
        "ok",
        f"tables: version {tables[0] if tables else '?'}, code from version {oldest_code} on; "
        f"{_size(free * size)} of the file can be used again",
    )


def _integrity(path: Path, read: Read) -> Iterator[Finding]:
    try:
        with read() as db:
            faults = [str(fault) for (fault,) in db.all(f"PRAGMA quick_check({_MOST_FAULTS})")]
    except StoreError as error:
        faults = [str(error)]
    if faults == ["ok"]:
        yield Finding("ok", "integrity: every page is as it should be")
        return
    yield Finding(
        "error",
        f"the file is damaged: {'; '.join(faults)}",
        f"Stop all processes, keep a copy, and save what can be read: "
        f"sqlite3 '{path}' .recover | sqlite3 '{path}.new'",
    )


def _size(number: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
