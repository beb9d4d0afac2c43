"""What a process hears others with."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Protocol


class Ear(Protocol):
    """What :class:`~.listener.Listener` waits with."""

    @property
    def poll(self) -> float:
        """Seconds between two looks for what was not heard, which is what that costs at most."""
        ...

    @property
    def rest(self) -> float:
        """Seconds for which what comes may lie unread while nobody waits for it."""
        ...

    def receive(self, timeout: float) -> Sequence[str] | None:
        """Return the topics that were told within *timeout* seconds; fewer after an interrupt.

        None if so many came that others may have been lost.
        """
        ...

    def interrupt(self) -> None:
        """End what :meth:`receive` waits for."""
        ...

    def close(self) -> None: ...


class DeafEar:
    """Where nobody can tell anything: one looks more often, and not all processes at once."""

    rest = 60.0

    def __init__(self) -> None:
        self._bell = threading.Event()

    @property
    def poll(self) -> float:
        return random.uniform(0.15, 0.25)

    def receive(self, timeout: float) -> Sequence[str]:
        self._bell.wait(timeout)
        self._bell.clear()
        return ()

    def interrupt(self) -> None:
        self._bell.set()

    def close(self) -> None:
        """Nothing to close."""
