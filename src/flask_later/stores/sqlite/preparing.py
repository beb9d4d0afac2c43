"""How a file comes to be a store of ours: made, recognised, or brought up to date."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from flask_later.errors import StoreError, StoreMismatchError, UnsupportedError

from .file_system import make_folder, refuse_remote, warn_if_open_to_others
from .forks import opening
from .jobs import COUNT_OTHERS
from .locks import INIT, lock_file
from .schema import APPLICATION_ID, MIGRATIONS, OLDEST_CODE, PAGE_SIZE, TABLES, VERSION
from .trouble import foreign, is_busy, translated

_OLDEST_SQLITE = (3, 31)
_NAME = re.compile(r"\s*CREATE (?:UNIQUE )?(?:TABLE|INDEX|TRIGGER) (\w+)")


class Header(NamedTuple):
    """What a file says about itself; see ``schema.py``."""

    application_id: int
    oldest_code: int


def prepare(path: Path, patience: float) -> None:
    """Make sure that *path* is a file of ours with tables that this code can work with.

    Many processes may do so at once.

    :raises StoreMismatchError: if it is somebody else's, or too new, or on a file system that its
        processes cannot share; it is not touched.
    :raises StoreBusyError: if it stays locked for *patience* seconds.
    :raises StoreError: if this process may not write there.
    :raises UnsupportedError: if the SQLite of this Python is too old.
    """
    _require_sqlite()
    refuse_remote(path)
    try:
        _prepare(path, patience)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror or error}. Let this process write to that folder, or choose "
            f"another: LATER_STORE = 'sqlite:////var/lib/shop/later.sqlite3'."
        ) from error
    warn_if_open_to_others(path)


def _require_sqlite() -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise UnsupportedError(
            "LATER_STORE = 'sqlite:///...'",
            f"this Python has SQLite {sqlite3.sqlite_version}, which is older than 3.31",
            "Install a newer SQLite or Python, or set LATER_STORE = 'memory://'.",
        )


def _prepare(path: Path, patience: float) -> None:
    make_folder(path.parent)
    if path.exists():
        # Before anything is put beside it.
        _refuse_foreign(path)
    with lock_file(path).holding(INIT, patience):
        _create_file(path)
        _refuse_foreign(path)
        with translated(path, patience), _connected(path, "mode=rw", patience) as raw:
            raw.execute("PRAGMA wal_autocheckpoint = 0")
            # Of a new file.
            raw.execute(f"PRAGMA page_size = {PAGE_SIZE:d}")
            if _needs_tables(raw, path):
                _bring_up_to_date(raw, path)
            _use_wal(raw, path, patience)


@contextmanager
def _connected(path: Path, options: str, patience: float) -> Generator[sqlite3.Connection]:
    address = f"{path.absolute().as_uri()}?{options}"
    # No fork meanwhile, see forks.py: the child would take what is locked here for its own.
    with (
        opening,
        closing(sqlite3.connect(address, timeout=patience, isolation_level=None, uri=True)) as raw,
    ):
        yield raw


def _create_file(path: Path) -> None:
    # Payloads are nobody else's business; SQLite gives its side files the same mode. A file that
    # is there is not even opened: closing it again would drop this process's locks on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _refuse_foreign(path: Path) -> None:
    """Look at the header only, as if the file could not change: no lock, no journal, no WAL."""
    if path.is_dir():
        raise foreign(path, "a folder")
    if path.stat().st_size == 0:
        return
    try:
        with _connected(path, "mode=ro&immutable=1", 0) as raw:
            header = read_header(raw)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise foreign(path, "not a SQLite file") from error
        # The last process died while it wrote: what the journal puts right is judged later.
        return
    if header.application_id != APPLICATION_ID:
        raise foreign(path)


def _bring_up_to_date(raw: sqlite3.Connection, path: Path) -> None:
    # All in one transaction, and before a new file uses a WAL: so the header says what the file is
    # from its first byte on, wherever a crash comes.
    with _transaction(raw):
        # Without the init lock (Windows) another process may have been first.
        if _needs_tables(raw, path):
            _migrate(raw)


def _migrate(raw: sqlite3.Connection) -> None:
    before = tables_version(raw)
    for version in range(before + 1, VERSION + 1):
        for statement in MIGRATIONS.get(version, ()) if before else ():
            raw.execute(statement)
    there = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    for statement in TABLES:
        if name_of(statement) not in there:
            raw.execute(statement)
    identity = f"sqlite-{secrets.token_hex(8)}"
    raw.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (identity,))
    raw.execute(f"INSERT OR IGNORE INTO tally (id, others) VALUES (1, ({COUNT_OTHERS}))")
    raw.execute("INSERT OR REPLACE INTO meta VALUES ('tables', ?)", (str(VERSION),))
    raw.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    raw.execute(f"PRAGMA user_version = {OLDEST_CODE:d}")


def name_of(statement: str) -> str:
    """Return what a statement of the schema makes."""
    match = _NAME.match(statement)
    assert match is not None, statement
    return match[1]


@contextmanager
def _transaction(raw: sqlite3.Connection) -> Generator[None]:
    raw.execute("BEGIN IMMEDIATE")
    try:
        yield
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


def _needs_tables(raw: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is empty, or ours and older than this code."""
    header = read_header(raw)
    if header.application_id != APPLICATION_ID:
        if raw.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise foreign(path)
        return True
    version = tables_version(raw)
    if header.oldest_code > VERSION:
        raise too_new(path, version, header.oldest_code)
    return version < VERSION


def read_header(raw: sqlite3.Connection) -> Header:
    (application_id,) = raw.execute("PRAGMA application_id").fetchone()
    (oldest_code,) = raw.execute("PRAGMA user_version").fetchone()
    return Header(application_id, oldest_code)


def tables_version(raw: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 for a file without any."""
    if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return 0
    row = raw.execute("SELECT value FROM meta WHERE key = 'tables'").fetchone()
    # Version 1 did not say it there.
    return int(row[0]) if row else 1


def too_new(path: Path, tables: int, oldest_code: int) -> StoreMismatchError:
    """Return the error that says what code the file needs."""
    return StoreMismatchError(
        str(path),
        f"it was written by a newer Flask-Later (its tables are of version {tables} and need code "
        f"of version {oldest_code}, here is {VERSION}). Type: pip install --upgrade flask-later",
    )


def _use_wal(raw: sqlite3.Connection, path: Path, patience: float) -> None:
    # Without the init lock (Windows) another process may be at it, and SQLite does not wait here.
    deadline = time.monotonic() + patience
    while True:
        try:
            (mode,) = raw.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            reason = "its file system cannot share memory between processes; use a local disk"
            raise StoreMismatchError(str(path), reason)
        return
