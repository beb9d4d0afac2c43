"""What lies below the file: a disk that its processes can share, and who may write there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from math import inf
from pathlib import Path
from typing import NamedTuple

from flask_later.errors import StoreFullError, StoreMismatchError
from flask_later.logs import Log

_logger = Log(__name__)

#: What is mounted, as the kernel tells it.
MOUNTS = Path("/proc/self/mounts")

# File systems of other machines, or of the host of a virtual one: memory that is mapped from a
# file there is not shared, and their locks may not reach everybody.
_REMOTE = frozenset(
    {
        *(
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "davfs",
            "fuse",
            "gfs2",
            "glusterfs",
            "gpfs",
        ),
        *(
            "lustre",
            "ncpfs",
            "nfs",
            "nfs4",
            "ocfs2",
            "prl_fs",
            "smb3",
            "smbfs",
            "vboxsf",
            "virtiofs",
        ),
        "vmhgfs",
    }
)
# They pass through to a disk of this machine: containers of ordinary users lie on the first.
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs"})
_OCTAL = re.compile(r"\\([0-7]{3})")


_MB = 1024 * 1024
#: What to do about :class:`Room`.
REMEDY = (
    "make room on that disk, or lower LATER_MIN_FREE (pruned jobs leave theirs to the file, not to "
    "the disk)"
)
#: Seconds between two looks at what the disk has left.
_LOOK_EVERY = 1.0


class Mount(NamedTuple):
    """A place in the tree of files, and what is there."""

    folder: str
    kind: str


class Room:
    """How much room the disk under *folder* has left, looked at no more than once a second.

    Jobs are refused while there are still *least* bytes, so that what runs can be settled.
    """

    def __init__(self, folder: Path, least: int) -> None:
        self._folder = folder
        self.least = least
        self._free = 0
        self._looked_at = -inf

    def require(self, file: Path) -> None:
        """:raises StoreFullError: if another job in *file* would take the last room."""
        if not self.least:
            return
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY:
            # In this order: who comes in between must not find less than there is.
            self._free = self._look()
            self._looked_at = now
        if self._free < self.least:
            raise StoreFullError(
                str(file),
                f"its disk has {self._free // _MB:,} MB left, LATER_MIN_FREE is "
                f"{-(-self.least // _MB):,} MB",
                REMEDY,
            )

    def _look(self) -> int:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:
            # Whoever writes there will hear why.
            return self.least


def make_folder(folder: Path) -> None:
    """Make *folder* and those above it, for their owner only; what is there is left as it is."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def refuse_remote(file: Path) -> None:
    """Refuse a file that several machines, or a machine and its host, could share.

    :raises StoreMismatchError: naming the file system.
    """
    mount = find_mount(file, _read_mounts())
    if mount is not None and _is_remote(mount.kind):
        raise StoreMismatchError(
            str(file),
            f"it lies on {mount.kind} (mounted at {mount.folder}), where processes share neither "
            f"memory nor locks as SQLite needs them. Choose a disk of this machine: "
            f"LATER_STORE = 'sqlite:////var/lib/shop/later.sqlite3'",
        )


def kind_of(file: Path) -> str:
    """Return the kind of file system that *file* lies on, or nothing where nobody tells."""
    mount = find_mount(file, _read_mounts())
    return "" if mount is None else mount.kind


def find_mount(file: Path, mounts: str) -> Mount | None:
    """Return the one of *mounts*, as in ``/proc/mounts``, that *file* lies on."""
    found: Mount | None = None
    for line in mounts.splitlines():
        _, folder, kind, *_ = f"{line} ? ? ?".split()
        folder = _OCTAL.sub(lambda match: chr(int(match[1], 8)), folder)
        # The longest is the nearest; of two at one place the last lies on top.
        if file.is_relative_to(folder) and (found is None or len(folder) >= len(found.folder)):
            found = Mount(folder, kind)
    return found


def warn_if_open_to_others(file: Path) -> None:
    """Log a warning if other users of the machine can write to *file*."""
    if os.name == "posix" and file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        _logger.warning(
            "other users of this machine can write to %s, and so run tasks of this app with any "
            "arguments: chmod 600 '%s'",
            file,
            file,
        )


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def _read_mounts() -> str:
    try:
        return MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return ""
