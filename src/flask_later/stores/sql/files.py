"""Files that belong to jobs, in a table: each machine that shares the database has them.

A file is a row for each of its parts, all of one transaction.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader, RawIOBase
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO, Any, BinaryIO

from sqlalchemy import bindparam, func, insert, select

from flask_later.errors import StoreError, StoreFullError
from flask_later.stores.columns import to_micros
from flask_later.stores.files import FULL, require_name

from .jobs import Jobs, delete_files
from .tables import MAX_PART, file
from .transactions import Transactions

#: Bytes that are in the memory while a file is put there; what is more goes to the system's disk.
_IN_MEMORY = 1024 * 1024

_FILE = (file.c.job == bindparam("job_id"), file.c.kind == bindparam("its_kind"))
_LAST = select(func.max(file.c.number)).where(*_FILE)
_PART = select(file.c.data).where(*_FILE, file.c.number == bindparam("its_number"))
_INSERT = insert(file)


class FileTable:
    """Keeps files beside the jobs, as :class:`~flask_later.core.store.JobFiles` says."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def put(self, job_id: str, kind: str, chunks: Iterable[bytes]) -> None:
        """Keep *chunks* as a file. One that is there stays as it is.

        :raises ValueError: for an id or a kind that is none.
        """
        require_name(job_id, kind)
        # Before the transaction begins: who sends them may be slow.
        with _spooled(chunks) as spool:
            self._transactions.write(partial(_write, job_id, kind, spool))

    def open(self, job_id: str, kind: str) -> BinaryIO:
        """Open the file for reading, a part at a time.

        :raises OSError: if it is not there.
        :raises StoreError: if the database is not.
        """
        require_name(job_id, kind)
        values: dict[str, Any] = {"job_id": job_id, "its_kind": kind}
        last = self._transactions.read(lambda jobs: jobs.db.execute(_LAST, values).scalar())
        if last is None:
            raise _gone(job_id, kind)

        def read(number: int) -> bytes:
            at = {**values, "its_number": number}
            data = self._transactions.read(lambda jobs: jobs.db.execute(_PART, at).scalar())
            if data is None:
                # Its job was deleted meanwhile.
                raise _gone(job_id, kind)
            return bytes(data)

        return BufferedReader(_Parts(read, last + 1), MAX_PART)

    def delete(self, job_ids: Iterable[str]) -> None:
        """Delete all files of those jobs. What cannot be deleted now, a sweep will try again."""
        gone = [*job_ids]
        with suppress(StoreError):
            self._transactions.write(lambda jobs: delete_files(jobs.db, gone))


class _Parts(RawIOBase):
    """The parts of a file one after the other, each read when it is wanted."""

    def __init__(self, read: Callable[[int], bytes], number: int) -> None:
        super().__init__()
        self._parts = map(read, range(number))
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._parts, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


@contextmanager
def _spooled(chunks: Iterable[bytes]) -> Generator[IO[bytes]]:
    with SpooledTemporaryFile(_IN_MEMORY) as spool:
        try:
            for chunk in chunks:
                spool.write(chunk)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in FULL:
                raise StoreFullError(gettempdir(), reason) from error
            raise StoreError(
                f"{gettempdir()}: {reason}. What is larger than 64 kB goes there on its way to the "
                f"database. Let this process write there, or choose another: TMPDIR=/srv/shop/tmp."
            ) from error
        yield spool


def _write(job_id: str, kind: str, spool: IO[bytes], jobs: Jobs) -> None:
    values: dict[str, Any] = {"job_id": job_id, "its_kind": kind}
    if jobs.db.execute(_LAST, values).scalar() is not None:
        return
    # Of two that put the same, one fails here, and comes again as the second.
    row = {"job": job_id, "kind": kind, "at": to_micros(jobs.now)}
    for number, data in enumerate(_parts_of(spool)):
        jobs.db.execute(_INSERT, {**row, "number": number, "data": data})


def _parts_of(spool: IO[bytes]) -> Iterator[bytes]:
    """Yield what is to be a row each; of an empty file as well there is one."""
    spool.seek(0)
    yield spool.read(MAX_PART)
    while part := spool.read(MAX_PART):
        yield part


def _gone(job_id: str, kind: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "the job has no such file", f"{job_id}/{kind}")
