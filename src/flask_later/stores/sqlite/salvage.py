"""Saving what can be read of a damaged file into a new one. The old one is not changed.

Jobs are read by ranges of their numbers, and one by one where a range cannot be read: a damaged
page costs the jobs on it. What the rows do not say any more, the index of ids may still tell.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from flask_later.core.store import Salvage
from flask_later.errors import StoreCorruptError, StoreError

from .jobs import COUNT_OTHERS
from .preparing import prepare
from .trouble import translated

#: Jobs that are read, and stored, at a time.
_AT_ONCE = 500
#: Bytes that a job takes at least.
_SMALLEST = 100

_KNOWN = "SELECT seq, id FROM job INDEXED BY sqlite_autoindex_job_1 ORDER BY id {order}"


def salvage(path: Path, target: Path, patience: float, step: Callable[[int, int], None]) -> Salvage:
    """Copy what can be read of the store at *path* into a new one at *target*.

    :param step: is called with how far it is, and how far it will be at the end.
    :raises StoreCorruptError: if nothing at all can be read.
    :raises StoreError: if *target* is there, or cannot be made.
    """
    if target.exists():
        raise StoreError(f"{target} is there already. Name a file that is not.")
    with closing(_open_damaged(path)) as old:
        prepare(target, patience)
        with (
            translated(target, patience),
            closing(sqlite3.connect(target, isolation_level=None)) as new,
        ):
            return _Copy(old, new, path, step).run()


def _open_damaged(path: Path) -> sqlite3.Connection:
    """Open it so that nothing is changed, not even by bringing in what its WAL has."""
    error: sqlite3.Error | None = None
    # Without its index beside it, or the right to make one, a WAL cannot be read.
    for options in ("mode=ro", "mode=ro&immutable=1"):
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)
        try:
            db.execute("SELECT 1 FROM sqlite_master WHERE name = 'job'").fetchone()
        except sqlite3.Error as why:
            error = why
            db.close()
        else:
            return db
    raise StoreCorruptError(str(path), f"nothing of it can be read: {error}") from error


class _Copy:
    """One file on its way into another."""

    def __init__(
        self,
        old: sqlite3.Connection,
        new: sqlite3.Connection,
        path: Path,
        step: Callable[[int, int], None],
    ) -> None:
        self._old = old
        self._new = new
        self._path = path
        self._step = step
        #: The numbers under which nothing can be read, whether there is a job or not.
        self._unreadable: set[int] = set()
        self._refused: list[str] = []

    def run(self) -> Salvage:
        for batch in self._batches():
            self._insert("job", batch)
        jobs = self._count("job")
        lost = [*self._refused, *self._names_of_lost()]
        whole = [name for name in ("log", "paused", "schedule") if self._copy(name)]
        identity = self._keep_identity()
        self._new.execute(f"UPDATE tally SET others = ({COUNT_OTHERS})")
        self._new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Salvage(
            jobs,
            self._count("log"),
            lost,
            unknown=max(0, len(self._unreadable) - len(lost)),
            incomplete=[
                what
                for name, what in (
                    ("log", "log lines of jobs"),
                    ("paused", "which queues are paused"),
                    ("schedule", "when schedules were last due"),
                )
                if name not in whole
            ],
            same_identity=identity,
        )

    # Jobs

    def _batches(self) -> Iterator[list[Any]]:
        first, last = self._bounds()
        for begin in range(first, last + 1, _AT_ONCE):
            yield self._read_range(begin, min(begin + _AT_ONCE, last + 1))
            self._step(min(begin + _AT_ONCE, last + 1) - first, last + 1 - first)

    def _bounds(self) -> tuple[int, int]:
        """Return the first and the last number that a job may have."""
        first = self._number("SELECT min(seq) FROM job", 1)
        pages, size = self._number("PRAGMA page_count", 0), self._number("PRAGMA page_size", 0)
        return first, self._number("SELECT max(seq) FROM job", first + pages * size // _SMALLEST)

    def _number(self, statement: str, otherwise: int) -> int:
        with suppress(sqlite3.Error):
            (number,) = self._old.execute(statement).fetchone()
            return otherwise if number is None else int(number)
        return otherwise

    def _read_range(self, begin: int, end: int) -> list[Any]:
        statement = "SELECT * FROM job WHERE seq >= ? AND seq < ?"
        try:
            return self._old.execute(statement, (begin, end)).fetchall()
        except sqlite3.Error:
            return [row for seq in range(begin, end) for row in self._read_one(seq)]

    def _read_one(self, seq: int) -> list[Any]:
        try:
            return self._old.execute("SELECT * FROM job WHERE seq = ?", (seq,)).fetchall()
        except sqlite3.Error:
            self._unreadable.add(seq)
            return []

    def _names_of_lost(self) -> list[str]:
        """Return the ids of jobs that cannot be read, as far as their index can be."""
        found: dict[int, str] = {}
        for order in ("ASC", "DESC"):
            # From both ends, up to where it is damaged itself.
            with suppress(sqlite3.Error):
                rows = self._old.execute(_KNOWN.format(order=order))
                found |= {seq: job_id for seq, job_id in rows if seq in self._unreadable}
        return [found[seq] for seq in sorted(found)]

    # Tables

    def _copy(self, table: str) -> bool:
        """Copy *table* up to where it can be read; return whether that was all of it."""
        rows: list[Any] = []
        try:
            for row in self._old.execute(f"SELECT * FROM {table}"):
                rows.append(row)
                if len(rows) == _AT_ONCE:
                    self._insert(table, rows)
                    rows = []
        except sqlite3.Error:
            return False
        finally:
            self._insert(table, rows)
        return True

    def _insert(self, table: str, rows: Collection[Sequence[Any]]) -> None:
        """Store *rows*, without columns that are not known here; what does not fit is lost."""
        theirs = self._columns(self._old, table)
        ours = self._columns(self._new, table)
        common = [name for name in theirs if name in ours]
        statement = (
            f"INSERT INTO {table} ({', '.join(common)}) VALUES ({', '.join('?' for _ in common)})"
        )
        self._new.execute("BEGIN")
        for row in rows:
            values = dict(zip(theirs, row, strict=True))
            try:
                self._new.execute(statement, [values[name] for name in common])
            except sqlite3.IntegrityError:
                if table == "job":
                    self._refused.append(str(values.get("id")))
        self._new.execute("COMMIT")

    def _columns(self, db: sqlite3.Connection, table: str) -> list[str]:
        return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]

    def _count(self, table: str) -> int:
        ((number,),) = self._new.execute(f"SELECT count(*) FROM {table}").fetchall()
        return int(number)

    def _keep_identity(self) -> bool:
        """Give the new store the identity of the old one, by which it finds its large texts."""
        with suppress(sqlite3.Error):
            row = self._old.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
            if row is not None:
                self._new.execute("UPDATE meta SET value = ? WHERE key = 'identity'", row)
                return True
        return False
