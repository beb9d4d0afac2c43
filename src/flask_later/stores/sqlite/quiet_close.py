"""Closing a connection without a checkpoint, and without deleting the WAL.

Otherwise the last connection to leave a file would bring a WAL that is lost into the database, or
delete the WAL that other processes write by now. It has to be closed all the same: all connections
of a process to a file share what they know about its WAL.
"""

from __future__ import annotations

import sqlite3
import sys

_NO_CKPT_ON_CLOSE = 1006

if sys.version_info >= (3, 12):

    def leave_wal_alone(raw: sqlite3.Connection) -> bool:
        """Make the end of *raw* a quiet one; return whether that worked."""
        raw.setconfig(_NO_CKPT_ON_CLOSE, True)
        return True

else:

    def leave_wal_alone(raw: sqlite3.Connection) -> bool:
        """Make the end of *raw* a quiet one; return whether that worked."""
        if sys.implementation.name != "cpython":
            return False
        try:
            import _sqlite3
            import ctypes

            # The module has no name for it before 3.12. In its object, SQLite's comes first.
            configure = ctypes.CDLL(_sqlite3.__file__).sqlite3_db_config
            configure.argtypes = [ctypes.c_void_p, ctypes.c_int]
            pointer = ctypes.c_void_p.from_address(id(raw) + object.__basicsize__)
            return bool(configure(pointer, _NO_CKPT_ON_CLOSE, ctypes.c_int(1), None) == 0)
        except (ImportError, AttributeError, OSError):
            return False
