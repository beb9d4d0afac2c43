"""Files that belong to jobs: what is too large for a row."""

from __future__ import annotations

import errno
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from flask_later.core.job import is_id
from flask_later.errors import StoreError, StoreFullError

#: Seconds after which files may go whose job is not there: it may still be about to be stored.
_STRAY_AFTER = 3600.0
#: Ids that are looked up at a time.
_AT_ONCE = 500

#: The errors of a disk without room.
FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_KIND = re.compile("[a-z][a-z0-9-]{0,63}")


def require_name(job_id: str, kind: str) -> None:
    """Make sure that a file can be called so.

    :raises ValueError: for an id or a kind that is none: 1 to 64 of ``a-z 0-9 -``.
    """
    if not is_id(job_id) or not _KIND.fullmatch(kind):
        raise ValueError(f"no file of a job can be called {job_id!r}/{kind!r}")


class Files:
    """Keeps files at ``folder/job id/kind``, for nobody but this user.

    A file is there as a whole or not at all, and never changes. It is put there before its job is
    committed, and deleted after its job is: so a job never lacks one, and what a crash leaves in
    between is a stray, which :meth:`sweep` finds.

    :param folder: made with the first file. No two stores may share one.
    :param sync: whether a file has to survive a power cut once :meth:`put` has returned.
    """

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self.folder = folder
        self._sync = sync

    def path(self, job_id: str, kind: str) -> Path:
        """Return where the file is, or would be.

        :raises ValueError: for an id or a kind that is none.
        """
        require_name(job_id, kind)
        return self.folder / job_id / kind

    def put(self, job_id: str, kind: str, chunks: Iterable[bytes]) -> None:
        """Keep *chunks* as a file. One that is there stays as it is: putting it again is free.

        :raises StoreFullError: if there is no room for it; nothing is left of it then.
        :raises StoreError: if it cannot be written for another reason.
        """
        path = self.path(job_id, kind)
        if path.exists():
            return
        draft = path.with_name(f".{kind}.{secrets.token_hex(4)}")
        try:
            self._make_folders(path.parent)
            self._write(draft, chunks)
            draft.replace(path)
            self._sync_folder(path.parent)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            if error.errno in FULL:
                raise StoreFullError(str(path), error.strerror or "the disk is full") from error
            raise StoreError(
                f"{path}: {error.strerror or error}. Let this process write there, or choose "
                f"another folder for large arguments and results: LATER_FILES = '/srv/shop/files'."
            ) from error
        except BaseException:
            # What the chunks come from has failed.
            draft.unlink(missing_ok=True)
            raise

    def open(self, job_id: str, kind: str) -> BinaryIO:
        """Open the file for reading.

        :raises OSError: if it is not there, or cannot be read.
        """
        return self.path(job_id, kind).open("rb")

    def delete(self, job_ids: Iterable[str]) -> None:
        """Delete all files of those jobs. What cannot be deleted now, a sweep will try again."""
        for job_id in filter(is_id, job_ids):
            shutil.rmtree(self.folder / job_id, ignore_errors=True)

    def has(self, job_id: str, kind: str) -> bool:
        """Whether the file is there; of a name that is none, there is none."""
        try:
            return self.path(job_id, kind).exists()
        except ValueError:
            return False

    def measure(self) -> tuple[int, int]:
        """Return how many jobs have files here, and how many bytes those take."""
        folders = [*self._older_than(math.inf)]
        files = (file for each in folders for file in (self.folder / each).glob("*"))
        size = 0
        for file in files:
            with suppress(OSError):
                size += file.stat().st_size
        return len(folders), size

    def strays(self, known: Callable[[Collection[str]], Collection[str]]) -> int:
        """Return how many folders belong to no job; *known* is as in :meth:`sweep`."""
        here = self._older_than(math.inf)
        strays = 0
        while some := set(islice(here, _AT_ONCE)):
            strays += len(some.difference(known(some)))
        return strays

    def sweep(self, now: float, known: Callable[[Collection[str]], Collection[str]]) -> None:
        """Delete the files of jobs that are gone: left behind by a process that died.

        :param now: the system's time, which the times of files are by.
        :param known: returns which of the ids that it is given are those of jobs.
        """
        old = self._older_than(now - _STRAY_AFTER)
        while some := set(islice(old, _AT_ONCE)):
            self.delete(some.difference(known(some)))

    def _older_than(self, before: float) -> Iterator[str]:
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if is_id(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                        yield entry.name

    def _make_folders(self, folder: Path) -> None:
        self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for each in (self.folder.parent, self.folder, folder):
            # Not by parents=True, which would let others look into all but the last.
            with suppress(FileExistsError):
                each.mkdir(0o700)
                self._sync_folder(each.parent)

    def _write(self, draft: Path, chunks: Iterable[bytes]) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            file.writelines(chunks)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())

    def _sync_folder(self, folder: Path) -> None:
        """See to it that a new name survives a power cut as well. Windows cannot, and need not."""
        if self._sync and os.name != "nt":
            number = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
