"""The port for what is too large for a record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol


class JobFiles(Protocol):
    """Files that belong to jobs: what is too large for a record. They go when their job goes.

    A file is there as a whole or not at all, and never changes. It is put there before its job is
    stored; if that comes to nothing, whoever put it there deletes it.
    """

    def put(self, job_id: str, kind: str, chunks: Iterable[bytes]) -> None:
        """Keep *chunks* as the file called *kind*: 1 to 64 of ``a-z 0-9 -``.

        :raises StoreError: if it cannot be written; nothing is left of it then.
        """
        ...

    def open(self, job_id: str, kind: str) -> BinaryIO:
        """Open the file for reading.

        :raises OSError: if it is not there, or cannot be read.
        :raises StoreError: if the store cannot be asked for it.
        """
        ...

    def delete(self, job_ids: Iterable[str]) -> None:
        """Delete all files of those jobs."""
        ...
