"""What a worker does with a hint, whoever brought it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from flask_later.core.engine import Ran, Run
from flask_later.core.job import Hint

#: Seconds for which one message may claim another job once it has run one.
DRAIN = 1.0


class Drains:
    """The hints that are being worked off in this process."""

    def __init__(self, run: Run, deliver: Callable[[Sequence[Hint]], None]) -> None:
        self._run = run
        self._deliver = deliver
        self._changed = threading.Condition()
        self._count = 0

    def work_off(self, hint: Hint) -> Ran:
        """Run what is best on the hint's queue, and go on for a second.

        If the time ended it, and not the work, the rest gets a hint of its own: the broker brings
        it after those that came in meanwhile.
        """
        second = _Second()
        self._add(1)
        try:
            ran = self._run(hint, second.lasts)
        finally:
            self._add(-1)
        if ran is Ran.RAN and second.is_over:
            self._deliver([hint])
        return ran

    def wait(self, timeout: float) -> None:
        """Wait until none is left, at most *timeout* seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, timeout)

    def _add(self, change: int) -> None:
        with self._changed:
            self._count += change
            self._changed.notify_all()


class _Second:
    """A second, and whether somebody has seen its end."""

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + DRAIN
        self.is_over = False

    def lasts(self) -> bool:
        self.is_over = self.is_over or time.monotonic() >= self._ends_at
        return not self.is_over
