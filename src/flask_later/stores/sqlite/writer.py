"""The one connection of this process that writes, and how its threads share a commit."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from flask_later.errors import (
    LaterError,
    ReentryError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreLostError,
    StoreMismatchError,
    StoreUncertainError,
)
from flask_later.logs import Log

from .checkpoints import Checkpoints
from .connection import Connection
from .file_system import make_folder
from .forks import spare_writing
from .guard import Guard
from .jobs import Jobs
from .locks import INIT, lock_file
from .trouble import is_busy, translated
from .turn import Place, Turn

T = TypeVar("T")

_logger = Log(__name__)

#: Seconds between two tries while another process writes: the first and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.00005, 0.005


class _Entry(Place):
    """An operation on its way through a commit."""

    __slots__ = ("answer", "deadline", "error", "full", "operation")

    def __init__(self, operation: Callable[[Jobs], Any], full: bool, deadline: float) -> None:
        super().__init__()
        self.operation = operation
        self.full = full
        self.deadline = deadline
        self.answer: Any = None
        self.error: Exception | None = None

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done = True


class Writer:
    """Runs operations of many threads, as many as wait in one transaction.

    There is no thread of its own: whoever gets the turn runs what all others wait for, see
    :class:`Turn`. So a commit costs one thread nothing more than without this, and sixteen threads
    share one.

    An operation is called with the jobs as its transaction sees them. It has no other effect than
    on that transaction, since it is called again if the commit was undone: because it failed
    itself, or one that shared it.

    :param begin: makes the jobs of a transaction that has just begun.
    :param committed: is called with them after the commit, before anyone gets an answer.
    :param reopen: makes a store again of what the path leads to now.
    """

    def __init__(
        self,
        path: Path,
        patience: float,
        begin: Callable[[Connection], Jobs],
        committed: Callable[[Jobs], None],
        reopen: Callable[[], None],
    ) -> None:
        self._path = path
        self._patience = patience
        self._translated = translated(path, patience)
        self._begin_jobs = begin
        self._committed = committed
        self._reopen = reopen
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self._turn: Turn[_Entry] = spare_writing(Turn())
        #: The thread that has the turn, from when on no signal handler may use the connection.
        self._leader = 0
        self._connection: Connection | None = None
        self._guard = Guard(self._path)
        #: Whether the files were found to be others, and could not be opened anew yet.
        self._lost = False
        self._checkpoints = Checkpoints(self._path)

    def write(
        self, operation: Callable[[Jobs], T], *, full: bool, patience: float | None = None
    ) -> T:
        """Run *operation* in a transaction; return its answer once that is committed.

        :param full: whether what it wrote has to survive a power cut that follows at once.
        :param patience: seconds to wait for others, if not as long as usual.
        :raises StoreBusyError: if another process writes for longer than the patience. Then
            nothing was written.
        :raises ReentryError: if this interrupts a write of its own thread, which it would wait for.
        :raises StoreError: if the file cannot be written. What *operation* raises passes through.
        """
        if self._pid != os.getpid():
            # Whoever held the turn in the parent of the fork does not live here.
            self._start_afresh()
        if self._leader == threading.get_ident():
            raise ReentryError()
        seconds = self._patience if patience is None else patience
        mine = _Entry(operation, full, time.monotonic() + seconds)
        try:
            if self._turn.take(mine, seconds):
                self._lead(mine)
        except TimeoutError:
            raise StoreBusyError(seconds) from None
        if mine.error is not None:
            raise mine.error
        return cast(T, mine.answer)

    def close(self) -> None:
        """Close the connection, once nobody uses it; the next write opens another."""
        if self._pid != os.getpid():
            return
        with self._alone():
            self._disconnect()

    def look_after(self) -> None:
        """See to it that the files are those that are open, and that the WAL does not grow.

        :raises StoreError: if they are not, and cannot be opened anew.
        """
        if self._pid != os.getpid():
            self._start_afresh()
        # Nobody else of this process is to write: a checkpoint has to get a word in.
        with self._alone():
            if self._guard.is_lost():
                self._find_again()
            self._checkpoints.run_if_due()

    def checkpoint(self) -> None:
        """Bring the WAL into the database, as far as nobody reads an older state."""
        with self._alone():
            self._checkpoints.run()

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Have the turn, and take nobody along."""
        with self._turn:
            self._leader = threading.get_ident()
            try:
                yield
            finally:
                self._leader = 0

    def _disconnect(self) -> None:
        self._guard.forget()
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _lead(self, mine: _Entry) -> None:
        """Run what is waited for, *mine* in any case, and give back the turn."""
        self._leader = threading.get_ident()
        # A signal handler may have had the turn until now, and have taken this along.
        batch = [] if mine.done else self._turn.all_waiting(mine)
        try:
            if batch:
                self._transact(batch, mine.deadline)
        except StoreBusyError as error:
            # It never began. The others are as patient as their own deadlines.
            mine.fail(error)
        except Exception as error:
            if len(batch) == 1:
                mine.fail(error)
            else:
                self._run_each(batch)
        finally:
            # Interrupted, or out of patience: those that are not done see to themselves.
            self._turn.give_back(batch[1:])
            self._leader = 0
            self._turn.release()

    def _run_each(self, batch: Sequence[_Entry]) -> None:
        """Give each a transaction of its own, so that the one that fails harms no other."""
        for entry in batch:
            try:
                self._transact([entry], entry.deadline)
            except Exception as error:
                entry.fail(error)

    def _transact(self, batch: Sequence[_Entry], deadline: float) -> None:
        jobs = self._commit_for_sure(batch, deadline)
        for entry in batch:
            entry.done = True
        self._committed(jobs)
        self._checkpoints.run_in_band()

    def _commit_for_sure(self, batch: Sequence[_Entry], deadline: float) -> Jobs:
        """Commit, and once more if nobody knows where the first commit went."""
        try:
            jobs = self._commit(batch, deadline)
            if not self._guard.is_lost():
                return jobs
            self._find_again()
        except StoreError as error:
            self._put_right(error)
        jobs = self._commit(batch, deadline)
        if self._guard.is_lost():
            raise StoreLostError(str(self._path))
        return jobs

    def _put_right(self, error: StoreError) -> None:
        """Do what may let the next try succeed; otherwise raise *error* again."""
        if isinstance(error, StoreBusyError):
            raise error
        if isinstance(error, StoreMismatchError) or self._guard.is_lost() or self._is_gone():
            self._find_again()
        elif isinstance(error, StoreUncertainError):
            # What a connection believes after that is not to be relied on.
            self._disconnect()
        elif not (isinstance(error, StoreFullError) and self._checkpoints.run()):
            # With a checkpoint, the room that the WAL has can be used again.
            raise error

    def _is_gone(self) -> bool:
        return not self._path.exists()

    def _find_again(self) -> None:
        if not self._lost:
            self._lost = True
            _logger.critical(
                "%s, or its -wal or -shm, was deleted or replaced while this process used it. Jobs "
                "that are not in what is there now are lost, unless the old files are put back. "
                "What was being stored is stored again there. Stop all processes before you touch "
                "these files",
                self._path,
            )
        self._set_aside()
        if self._connection is not None:
            self._connection.abandon()
        self._disconnect()
        self._reopen()
        self._lost = False

    def _set_aside(self) -> None:
        try:
            make_folder(self._path.parent)
            with lock_file(self._path).holding(INIT, self._patience):
                self._guard.set_aside()
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror or error}") from error

    def _commit(self, batch: Sequence[_Entry], deadline: float) -> Jobs:
        with self._translated:
            db = self._connect()
            self._begin(db, any(entry.full for entry in batch), deadline)
            try:
                jobs = self._begin_jobs(db)
                for entry in batch:
                    _perform(entry, jobs, alone=len(batch) == 1)
                jobs.close()
                db.commit()
            except BaseException:
                db.roll_back()
                raise
        return jobs

    def _begin(self, db: Connection, full: bool, deadline: float) -> None:
        """Begin as soon as no other process writes.

        SQLite would wait by itself, but so long between two tries that a busy process starves.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                return db.begin(full=full)
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _connect(self) -> Connection:
        db = self._connection
        if db is None or db.closed:
            # Its waiting is done here, see _begin.
            db = self._connection = Connection(self._path, self._patience, timeout=0.0)
            self._guard.remember()
        return db


def _perform(entry: _Entry, jobs: Jobs, *, alone: bool) -> None:
    """Run the operation of *entry*. One that was refused and wrote nothing undoes no other."""
    before = jobs.db.changed
    entry.error = None
    try:
        entry.answer = entry.operation(jobs)
    except LaterError as error:
        if alone or jobs.db.changed != before:
            raise
        entry.error = error
