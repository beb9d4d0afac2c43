"""Room on the disk for the WAL, taken while there is some."""

from __future__ import annotations

from pathlib import Path

from flask_later.errors import StoreBusyError, StoreCorruptError, StoreFullError
from flask_later.logs import Log

from .writer import Writer

#: Bytes that are written and deleted again in a new file, so that its WAL has twice as many: room
#: on the disk, also when that is full. A disk overwrites in half the time of extending a file too.
ALLOCATED = 1024 * 1024
#: Seconds that this may wait for others who write; else it is done later.
_PATIENCE = 0.1
#: In pieces for which the C library asks the system for no memory that it keeps.
_PIECE = 64 * 1024
_FILL = "INSERT OR REPLACE INTO meta VALUES ('ballast ' || ?, ?)"
_EMPTY = "DELETE FROM meta WHERE key LIKE 'ballast%'"

_logger = Log(__name__)


class Allocation:
    """Has the WAL of the file at *path* grow: so outcomes are kept also when the disk is full."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        #: Whether there has been a chance to.
        self._tried = False

    def take_if_left(self) -> None:
        """As :meth:`take`, unless there has been a chance to."""
        if not self._tried:
            self.take()

    def take(self) -> None:
        """Take the room that the WAL does not have yet."""
        if Path(f"{self._path}-wal").stat().st_size >= ALLOCATED:
            return
        self._tried = True
        try:
            self._write_and_delete()
        except StoreFullError as error:
            _logger.warning("%s", error)
        except StoreBusyError:
            self._tried = False
        except StoreCorruptError:
            # What is not damaged can still be read, and who comes upon the rest says so.
            _logger.warning("%s is damaged: no room was taken for its WAL", self._path)

    def _write_and_delete(self) -> None:
        piece = "x" * _PIECE
        pieces = [(number, piece) for number in range(ALLOCATED // _PIECE)]
        write = self._writer.write
        write(lambda jobs: jobs.db.execute_many(_FILL, pieces), full=False, patience=_PATIENCE)
        write(lambda jobs: jobs.db.execute(_EMPTY), full=False, patience=_PATIENCE)
        self._writer.checkpoint()
        write(lambda jobs: jobs.db.all("PRAGMA shrink_memory"), full=False, patience=_PATIENCE)
