"""The lock under which a file is prepared, and what tells one boot of the machine from another."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flask_later.errors import StoreBusyError

# A file lock belongs to the process: among its threads this one is needed too.
_preparing = threading.Lock()


@contextmanager
def init_lock(path: Path, patience: float) -> Generator[None]:
    """Be the only one, of all threads and processes, who prepares the store at *path*.

    :raises StoreBusyError: if another does for longer than *patience* seconds.
    """
    if not _preparing.acquire(timeout=patience):
        raise StoreBusyError(patience)
    try:
        file = os.open(f"{path}-lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            _lock_file(file, patience)
            yield
        finally:
            # Closing drops the lock.
            os.close(file)
    finally:
        _preparing.release()


def boot_id() -> str:
    """Return what names this boot of the machine, or nothing where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


if sys.platform == "win32":

    def _lock_file(file: int, patience: float) -> None:
        """There is no such lock; whoever needs the file to himself tries again."""

else:
    import fcntl

    def _lock_file(file: int, patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except (BlockingIOError, PermissionError) as error:
                if time.monotonic() > deadline:
                    raise StoreBusyError(patience) from error
                time.sleep(0.01)
