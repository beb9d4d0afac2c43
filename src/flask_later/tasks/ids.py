"""Ids of jobs: 128 random bits, so that nobody finds one by trying, nor learns an order."""

from __future__ import annotations

import os

#: Ids drawn from the system at a time. One by one they would cost a hand-over of the GIL each,
#: since ``os.urandom`` releases it: measured, that halves the throughput of a busy process.
_AT_A_TIME = 256


class _Stock:
    """Ids drawn in advance, for one process: a fork must not hand out the same ones twice."""

    __slots__ = ("ids", "pid")

    def __init__(self) -> None:
        self.pid = os.getpid()
        digits = os.urandom(16 * _AT_A_TIME).hex()
        self.ids = [digits[start : start + 32] for start in range(0, len(digits), 32)]


class _Ids:
    """Where ids come from; the stock is replaced when it is used up, or of another process."""

    def __init__(self) -> None:
        self._stock = _Stock()

    def new(self) -> str:
        while True:
            stock = self._stock
            if stock.pid == os.getpid():
                try:
                    # Atomic, so that no two threads get the same one.
                    return stock.ids.pop()
                except IndexError:
                    pass
            self._stock = _Stock()


#: Returns a new id: 32 hex digits.
new_id = _Ids().new
