"""Connections to the file: of each process one that writes and a few that read.

None crosses a fork.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any
from weakref import finalize

from flask_later.errors import StoreError

from .forks import opening, spare_reading
from .quiet_close import leave_wal_alone
from .rows import Row
from .schema import APPLICATION_ID
from .trouble import foreign, translated

_PRAGMAS = (
    # Kilobytes. What a job needs fits; the rest is in the cache of the system.
    "cache_size = -250",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    # Checkpoints are ours: see checkpoints.py.
    "wal_autocheckpoint = 0",
    f"journal_size_limit = {16 * 1024 * 1024:d}",
    # macOS: its plain fsync does not reach the disk.
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
)
#: The most that read; more threads than that take turns.
_MOST_READING = 8
#: Whether every connection leaves the WAL alone when it is closed.
CLOSES_QUIETLY = sys.version_info >= (3, 12)

#: All that this process has open; a fork turns them into inherited ones.
_opened: set[sqlite3.Connection] = set()
#: Inherited over a fork. Closing one here could delete the WAL under its owner's feet.
_graveyard: list[sqlite3.Connection] = []


def _bury() -> None:
    """In the child of a fork: see to it that no inherited connection is ever closed."""
    for raw in _opened:
        _graveyard.append(raw)
        _make_immortal(raw)
    _opened.clear()


def _make_immortal(raw: sqlite3.Connection) -> None:
    # The end of the interpreter empties the graveyard too, and a connection without references
    # closes itself. Without ctypes the list has to do: the child then had better use os._exit.
    with suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(raw))


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_bury)


class Connection:
    """A connection that one thread uses at a time; another may close it.

    :param timeout: seconds for which SQLite itself waits for other processes; *patience* if None.
    """

    def __init__(self, path: Path, patience: float, timeout: float | None = None) -> None:
        self._path = path
        self._pid = os.getpid()
        #: Held while it is used.
        self.lock = threading.RLock()
        self._synchronous = ""
        self.closed = False
        self._translated = translated(path, patience)
        with self._translated:
            # mode=rw: a file that somebody deleted is an error, not a new and empty store.
            self._raw = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                # To open is to wait: the last one to leave the file holds it for a moment.
                timeout=patience,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
            _opened.add(self._raw)
            _configure(self._raw)
            # It may have been replaced. This also has SQLite open its files, which it puts off.
            (application_id,) = self._raw.execute("PRAGMA application_id").fetchone()
            if timeout is not None:
                self._raw.execute(f"PRAGMA busy_timeout = {timeout * 1000:.0f}")
        if application_id != APPLICATION_ID:
            self.close()
            raise foreign(path)

    @property
    def inherited(self) -> bool:
        """Whether it was opened by another process, which this one was forked from."""
        return self._pid != os.getpid()

    def is_free(self) -> bool:
        """Whether it can be read from at once."""
        if self.inherited or not self.lock.acquire(blocking=False):
            return False
        try:
            # In a transaction: this thread reads already, and a signal handler interrupts it.
            return not (self.closed or self._raw.in_transaction)
        finally:
            self.lock.release()

    def close(self) -> None:
        """Close it, once nobody uses it; an inherited one is left alone."""
        if self.inherited:
            return
        with self.lock:
            self.closed = True
            self._raw.close()
            _opened.discard(self._raw)

    def abandon(self) -> None:
        """Never use it again, once nobody does: its files are not the store's any more."""
        if self.inherited:
            return
        with self.lock:
            if not self.closed and leave_wal_alone(self._raw):
                self.close()
            elif not self.closed:
                self.closed = True
                _opened.discard(self._raw)
                _graveyard.append(self._raw)
                _make_immortal(self._raw)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that sees one state of the file, and never waits for those who write."""
        # Held meanwhile, so that nobody closes what is in use.
        with self.lock, self._translated:
            if self.closed:
                # Whoever asks again gets a new one.
                raise StoreError(f"{self._path}: the store was closed meanwhile")
            self._raw.execute("BEGIN")
            try:
                yield self
                self.commit()
            except BaseException:
                self.roll_back()
                raise

    def look(self, statement: str, values: Sequence[Any]) -> Row | None:
        """Return the first row of the answer to one statement, outside of a transaction.

        It sees one state of the file by itself, and costs a third of :meth:`read`.
        """
        with self.lock, self._translated:
            if self.closed:
                raise StoreError(f"{self._path}: the store was closed meanwhile")
            try:
                row: Row | None = self._run(statement, values).fetchone()
            except sqlite3.OperationalError:
                # Perhaps for a text that is none, which is read otherwise.
                return self.one(statement, values)
            return row

    def data_version(self) -> int:
        """Return a number that is another one whenever another connection has written."""
        with self.lock, self._translated:
            if self.closed:
                raise StoreError(f"{self._path}: the store was closed meanwhile")
            (version,) = self._raw.execute("PRAGMA data_version").fetchone()
        return int(version)

    @property
    def changed(self) -> int:
        """How many rows it has changed so far, also those that were undone."""
        return self._raw.total_changes

    def begin(self, *, full: bool) -> None:
        """Begin to write; only one connection at a time can, among all processes.

        :param full: whether what is written has to survive a power cut that follows at once.
        :raises sqlite3.OperationalError: if another writes.
        """
        self._synchronize("FULL" if full else "NORMAL")
        self._raw.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction and keep what it wrote."""
        self._raw.execute("COMMIT")

    def roll_back(self) -> None:
        """End the transaction, whatever state it is in, and undo what it wrote."""
        try:
            # Some errors, such as a full disk, have ended the transaction already.
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
        except sqlite3.Error:
            # Nobody knows what state it is in; whoever needs one gets a new one.
            self.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run *statement* and return the number of rows it changed."""
        # Not through _run: this is called for each job.
        try:
            return self._raw.execute(statement, values).rowcount
        except UnicodeEncodeError:
            return self._run(statement, values).rowcount

    def insert(self, statement: str, values: Sequence[Any]) -> int | None:
        """Run *statement* and return the number of the row it stored, or None if it did not."""
        try:
            cursor = self._raw.execute(statement, values)
        except UnicodeEncodeError:
            cursor = self._run(statement, values)
        return cursor.lastrowid if cursor.rowcount == 1 else None

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run *statement* with each of *rows* and return the number of rows that all changed."""
        try:
            return self._raw.executemany(statement, rows).rowcount
        except UnicodeEncodeError:
            return self._raw.executemany(
                statement, [[_to_bytes(value) for value in row] for row in rows]
            ).rowcount

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of the answer."""
        try:
            rows: list[Row] = self._run(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            if "Could not decode to UTF-8" not in str(error):
                raise
            rows = self._all_as_bytes(statement, values)
        if bytes in map(type, chain.from_iterable(rows)):
            return [tuple(map(_to_text, row)) for row in rows]
        return rows

    def _all_as_bytes(self, statement: str, values: Sequence[Any]) -> list[Row]:
        # Somebody else wrote text that is none. It costs its own job only.
        self._raw.text_factory = bytes
        try:
            return self._run(statement, values).fetchall()
        finally:
            self._raw.text_factory = str

    def one(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        """Return the first row of the answer, if there is one."""
        rows = self.all(statement, values)
        return rows[0] if rows else None

    def _run(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self._raw.execute(statement, values)
        except UnicodeEncodeError:
            # SQLite's text is UTF-8, which has no lone surrogates. A text with one is kept as
            # bytes, which equal themselves and no text; all() makes it a text again.
            return self._raw.execute(statement, [_to_bytes(value) for value in values])

    def _synchronize(self, mode: str) -> None:
        if self._synchronous != mode:
            self._raw.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode


class Connections:
    """Connections to *path*, as many as threads have read at the same time.

    Not one for each thread: it takes a third of a megabyte, and a thread that reads is mostly the
    only one.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._mine: list[Connection] = []
        # Not at exit: the last writes of the app come after that.
        finalize(self, _close_all, self._mine).atexit = False

    def get(self) -> Connection:
        """Return one that nobody uses in this process; whoever gets it as well waits for it."""
        for connection in [*self._mine]:
            if connection.is_free():
                return connection
        return self._open_another()

    def _open_another(self) -> Connection:
        with opening:
            self._mine[:] = [each for each in self._mine if not (each.closed or each.inherited)]
            if len(self._mine) >= _MOST_READING:
                return random.choice(self._mine)
            connection = Connection(self._path, self._patience)
            self._mine.append(connection)
            spare_reading(connection.lock)
        return connection

    def abandon(self) -> None:
        """Give all who read new ones; see :meth:`Connection.abandon`."""
        # None is opened before all of the old are gone: it would share what they know of the WAL.
        with opening:
            while self._mine:
                self._mine.pop().abandon()

    def close(self) -> None:
        """Close all, each as soon as it is not in use."""
        with opening:
            closing = [*self._mine]
            self._mine.clear()
        _close_all(closing)


def _configure(raw: sqlite3.Connection) -> None:
    for pragma in _PRAGMAS:
        raw.execute(f"PRAGMA {pragma}")
    if CLOSES_QUIETLY:
        leave_wal_alone(raw)
    if sys.version_info >= (3, 12):
        raw.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def _close_all(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


def _to_text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "backslashreplace")


def _to_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # What UTF-8 can say has to stay text, or it would no longer be equal to itself.
    data = value.encode("utf-8", "surrogatepass")
    return data if any("\ud800" <= char <= "\udfff" for char in value) else value
