"""The write-ahead log as bytes: how far it is valid, and what is left of it after a power cut."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

HEADER = 32
FRAME_HEADER = 24


@dataclass(frozen=True)
class Wal:
    """The frames that belong to the log as its header says; older ones may follow them."""

    data: bytes

    @classmethod
    def of(cls, database: Path) -> Wal:
        return cls(database.with_name(f"{database.name}-wal").read_bytes())

    @property
    def frame(self) -> int:
        """Bytes of a frame: a page and its header."""
        return FRAME_HEADER + int(struct.unpack_from(">I", self.data, 8)[0])

    @property
    def frames(self) -> int:
        """How many frames carry the salt of the header."""
        salt = self.data[16:24]
        number = 0
        while (start := self.end(number)) + self.frame <= len(self.data):
            if self.data[start + 8 : start + 16] != salt:
                break
            number += 1
        return number

    def end(self, frames: int) -> int:
        """The byte at which so many frames end."""
        return HEADER + frames * self.frame
