"""The tables, and how a file comes to have them."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from flask_later.errors import StoreError, StoreMismatchError

from .locks import INIT, lock_file
from .rows import to_micros
from .trouble import is_busy, translated

#: In the file's header: what the file is ("FLtr"), and which version of the tables it has.
APPLICATION_ID = 0x464C7472
VERSION = 1

# What is counted with has to be a number, whoever writes it: at a row where it is not all would
# stop that come to it, again and again.
_COUNTS = ("priority", "fence", "attempts", "failures", "crashes", "releases")
_INSTANTS = ("created_at", "run_at", "started_at", "finished_at", "scheduled_at", "key_free_at")
_CHECKS = ",\n        ".join(
    [
        *(f"CHECK (typeof({name}) = 'integer')" for name in _COUNTS),
        *(
            f"CHECK ({name} IS NULL OR typeof({name}) = 'integer' AND {name} "
            f"BETWEEN {to_micros(datetime.min.replace(tzinfo=UTC))} "
            f"AND {to_micros(datetime.max.replace(tzinfo=UTC))})"
            for name in (*_INSTANTS, "expires_at", "left_out")
        ),
        "CHECK (typeof(rank) = 'real')",
        "CHECK (timeout IS NULL OR typeof(timeout) = 'real')",
    ]
)

# Every index is partial, so that a job is in the few it needs in its state, and a backlog of one
# kind does not slow down the others. They end in the state because SQLite would look it up in the
# row otherwise, although the index has rows of one state only. No RETURNING, no STRICT: SQLite
# 3.31 is enough.
_TABLES = (
    """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    # seq is the order in which jobs were stored; AUTOINCREMENT never uses one twice, so that the
    # cursor of a page stays right when jobs are deleted. left_out is since when the beats of its
    # worker have not named a running job.
    f"""
    CREATE TABLE job (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        task TEXT NOT NULL,
        queue TEXT NOT NULL,
        payload TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        run_at INTEGER NOT NULL,
        rank REAL NOT NULL,
        priority INTEGER NOT NULL,
        context TEXT NOT NULL,
        timeout REAL,
        unique_key TEXT,
        fence INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        crashes INTEGER NOT NULL,
        releases INTEGER NOT NULL,
        worker TEXT,
        started_at INTEGER,
        finished_at INTEGER,
        stop TEXT,
        result TEXT,
        error TEXT,
        progress TEXT,
        parked_for TEXT,
        scheduled_at INTEGER,
        schedule TEXT,
        unique_until TEXT NOT NULL,
        key_free_at INTEGER,
        expires_at INTEGER,
        left_out INTEGER,
        {_CHECKS}
    )
    """,
    "CREATE INDEX job_ready ON job (queue, rank, seq, run_at, state) WHERE state = 'queued'",
    "CREATE INDEX job_due ON job (run_at, seq, state) WHERE state = 'scheduled'",
    "CREATE INDEX job_held ON job (seq, state) WHERE state = 'held'",
    "CREATE INDEX job_running ON job (worker, seq) WHERE state = 'running'",
    "CREATE INDEX job_parked ON job (task, parked_for, seq, state) WHERE state = 'parked'",
    """
    CREATE INDEX job_finished ON job (state, max(finished_at, ifnull(key_free_at, 0)), seq)
    WHERE state IN ('succeeded', 'failed', 'cancelled')
    """,
    """
    CREATE INDEX job_key ON job (unique_key, seq, state) WHERE unique_key IS NOT NULL
    AND state IN ('held', 'scheduled', 'queued', 'running', 'parked')
    """,
    "CREATE INDEX job_key_free ON job (unique_key, key_free_at) WHERE key_free_at IS NOT NULL",
    """
    CREATE INDEX job_expiring ON job (expires_at, seq) WHERE expires_at IS NOT NULL
    AND attempts = 0 AND state IN ('held', 'scheduled', 'queued', 'parked')
    """,
    """
    CREATE TABLE log (
        job TEXT NOT NULL,
        id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (job, id)
    ) WITHOUT ROWID
    """,
    # slot is the byte that the worker holds of the lock file with that inode; never used twice.
    # beat is the clock's monotonic time, which means something only in its own boot.
    """
    CREATE TABLE worker (
        slot INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        boot TEXT NOT NULL,
        beat REAL NOT NULL,
        queues TEXT,
        threads INTEGER NOT NULL DEFAULT 0,
        lock_inode INTEGER
    )
    """,
    "CREATE TABLE paused (queue TEXT PRIMARY KEY) WITHOUT ROWID",
    # Since when nobody has to hint again at the queue.
    """
    CREATE TABLE hinted (
        queue TEXT PRIMARY KEY,
        at INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE schedule (
        name TEXT PRIMARY KEY,
        last_due INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)


def prepare(path: Path, patience: float) -> None:
    """Make sure that *path* is a file of ours with the tables of this version.

    Many processes may do so at once.

    :raises StoreMismatchError: if it is somebody else's, or of a newer version; it is not touched.
    :raises StoreBusyError: if it stays locked for *patience* seconds.
    :raises StoreError: if this process may not write there.
    """
    try:
        _prepare(path, patience)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror or error}. Let this process write to that folder, or choose "
            f"another: LATER_STORE = 'sqlite:////var/lib/shop/later.sqlite3'."
        ) from error


def _prepare(path: Path, patience: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(path).holding(INIT, patience):
        _create_file(path)
        _refuse_foreign(path)
        with translated(path, patience), closing(_connect(path, "mode=rw", patience)) as raw:
            _create_tables(raw, path)
            _use_wal(raw, path, patience)


def _connect(path: Path, options: str, patience: float) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?{options}"
    return sqlite3.connect(address, timeout=patience, isolation_level=None, uri=True)


def _create_file(path: Path) -> None:
    # Payloads are nobody else's business; SQLite gives its side files the same mode. A file that
    # is there is not even opened: closing it again would drop this process's locks on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _refuse_foreign(path: Path) -> None:
    """Look at the header only, as if the file could not change: no lock, no journal, no WAL."""
    if path.stat().st_size == 0:
        return
    try:
        with closing(_connect(path, "mode=ro&immutable=1", 0)) as raw:
            application_id, _ = _header(raw)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise StoreMismatchError(str(path), "it is not a SQLite file") from error
        # The last process died while it wrote: what the journal puts right is judged later.
        return
    if application_id != APPLICATION_ID:
        raise _foreign(path)


def _create_tables(raw: sqlite3.Connection, path: Path) -> None:
    if _has_tables(raw, path):
        return
    # All in one transaction, and before the file uses a WAL: so the header says what the file is
    # from its first byte on, wherever a crash comes.
    raw.execute("BEGIN IMMEDIATE")
    if not _has_tables(raw, path):
        for statement in _TABLES:
            raw.execute(statement)
        raw.execute("INSERT INTO meta VALUES ('identity', ?)", (f"sqlite-{secrets.token_hex(8)}",))
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        raw.execute(f"PRAGMA user_version = {VERSION:d}")
    raw.execute("COMMIT")


def _has_tables(raw: sqlite3.Connection, path: Path) -> bool:
    application_id, version = _header(raw)
    if version > VERSION and application_id == APPLICATION_ID:
        reason = f"it was written by a newer Flask-Later (tables {version}, here {VERSION})"
        raise StoreMismatchError(str(path), reason)
    if application_id == APPLICATION_ID:
        return True
    if raw.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise _foreign(path)
    return False


def _header(raw: sqlite3.Connection) -> tuple[int, int]:
    (application_id,) = raw.execute("PRAGMA application_id").fetchone()
    (version,) = raw.execute("PRAGMA user_version").fetchone()
    return application_id, version


def _foreign(path: Path) -> StoreMismatchError:
    return StoreMismatchError(str(path), "it is the database of another program")


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
