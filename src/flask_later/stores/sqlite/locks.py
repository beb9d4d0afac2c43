"""Locks on single bytes of a file beside the store's, which the kernel drops with their process.

Such a lock belongs to the process, is not inherited by a fork, and is lost as soon as the process
closes any descriptor of that file. So a process has one descriptor for each lock file, in a
registry, and never closes it.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flask_later.errors import StoreBusyError

#: Held by who prepares the file: makes its tables, or brings them up to date.
INIT = 0
#: Held by who brings the WAL into the database.
CHECKPOINT = 2**40
# The bytes from 1 on are the slots of the workers.

#: Whether a lock says that its holder lives.
LOCKS_WORK = sys.platform != "win32"

#: Seconds between two tries to take what another process has.
_PAUSE = 0.01


def boot_id() -> str:
    """Return what names this boot of the machine, or nothing where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


if sys.platform == "win32":

    def _lock(file: int, byte: int) -> bool:
        return True

    def _unlock(file: int, byte: int) -> None:
        """There was no lock."""

    def _is_locked(file: int, byte: int) -> bool:
        return False

else:
    import fcntl

    def _lock(file: int, byte: int) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(file: int, byte: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)

    if sys.platform == "linux" and struct.calcsize("P") == 8:
        # struct flock: what kind of lock, from where, which byte, how many, whose.
        _FLOCK = struct.Struct("@hhqqi4x")

        def _is_locked(file: int, byte: int) -> bool:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            kind, *_ = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
            return bool(kind != fcntl.F_UNLCK)

    else:

        def _is_locked(file: int, byte: int) -> bool:
            if not _lock(file, byte):
                return True
            _unlock(file, byte)
            return False


def _give_to_owner(file: int, store: Path) -> None:
    """Let a new lock file be the store's owner's: root, who types a command, keeps nobody out.

    SQLite does so with its files. Not with one that was there, which may be a link to anything.
    """
    if sys.platform != "win32" and os.geteuid() == 0 and store.exists():
        owner = store.stat()
        os.fchown(file, owner.st_uid, owner.st_gid)


class LockFile:
    """The bytes of one lock file, as this process holds them.

    A thread that takes a byte keeps other processes out, and the other threads of its own.
    """

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._file = file
        #: Names the file while anyone has it open, whatever becomes of its name.
        self.inode = os.fstat(file).st_ino
        self.forget()

    def forget(self) -> None:
        """Hold nothing: this is the child of a fork, and locks stay with the parent."""
        self._mutex = threading.Lock()
        self._mine: set[int] = set()

    @property
    def is_lost(self) -> bool:
        """Whether the file has been deleted or replaced: who comes now locks another one."""
        try:
            return self._path.stat().st_ino != self.inode
        except OSError:
            return True

    def try_take(self, byte: int) -> bool:
        """Take *byte* for this thread alone, if nobody has it."""
        with self._mutex:
            if byte in self._mine or not _lock(self._file, byte):
                return False
            self._mine.add(byte)
            return True

    def take(self, byte: int, patience: float) -> None:
        """Take *byte* for this thread alone.

        :raises StoreBusyError: if another has it for longer than *patience* seconds.
        """
        deadline = time.monotonic() + patience
        while not self.try_take(byte):
            if time.monotonic() > deadline:
                raise StoreBusyError(patience)
            time.sleep(_PAUSE)

    def release(self, byte: int) -> None:
        """Give back *byte*. One that is not held is left alone."""
        with self._mutex:
            if byte in self._mine:
                self._mine.remove(byte)
                _unlock(self._file, byte)

    def is_mine(self, byte: int) -> bool:
        """Whether a thread of this process has *byte*."""
        return byte in self._mine

    def is_taken_elsewhere(self, byte: int) -> bool:
        """Whether another process has *byte*.

        Where the system cannot just be asked, this tries the lock: so not for a byte of one's own.
        """
        with self._mutex:
            return _is_locked(self._file, byte)

    @contextmanager
    def holding(self, byte: int, patience: float) -> Generator[None]:
        """Have *byte* for oneself; see :meth:`take`."""
        self.take(byte, patience)
        try:
            yield
        finally:
            self.release(byte)


class _Registry:
    """Every lock file that this process has ever opened, by device and inode."""

    def __init__(self) -> None:
        self._files: dict[tuple[int, int], LockFile] = {}
        self._mutex = threading.Lock()

    def get(self, path: Path, store: Path) -> LockFile:
        with self._mutex:
            return self._known(path) or self._open(path, store)

    def forget(self) -> None:
        """In the child of a fork: the descriptors serve it too, the locks are its parent's."""
        self._mutex = threading.Lock()
        for each in self._files.values():
            each.forget()

    def _known(self, path: Path) -> LockFile | None:
        # Not by opening it: to close it again would drop the locks.
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return self._files.get((status.st_dev, status.st_ino))

    def _open(self, path: Path, store: Path) -> LockFile:
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            _give_to_owner(file, store)
        except FileExistsError:
            file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        status = os.fstat(file)
        # If it is known after all, it was put there between the two looks; then this descriptor
        # has no use, and stays open, because to close it would drop the locks.
        return self._files.setdefault((status.st_dev, status.st_ino), LockFile(path, file))


_registry = _Registry()

if sys.platform != "win32":
    os.register_at_fork(after_in_child=_registry.forget)


def lock_file(store: Path) -> LockFile:
    """Return the lock file of the store at *store*, made if it is not there.

    All who name the same file get the same object.

    :raises OSError: if this process may not write there.
    """
    return _registry.get(Path(f"{store}-lock"), store)
