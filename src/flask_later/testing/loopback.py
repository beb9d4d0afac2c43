"""An engine that does everything to hints that a broker may do."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

from flask_later.core.engine import Engine, Ran, Run, ServeOptions
from flask_later.core.job import Hint
from flask_later.core.store import Store


class LoopbackEngine(Engine):
    """Loses a third of the hints, doubles another, and brings the rest out of order.

    It has no threads: :meth:`pump` runs jobs on its caller's. What holds on it holds on every
    broker.

    :param seed: another one, another order of misfortunes.
    """

    requires_reach = "process"

    def __init__(self, seed: int = 0) -> None:
        # deliver() is called by every thread that enqueues, and by maintenance.
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._hints: list[Hint] = []
        self._closed = False

    def bind(self, run: Run, store: Store) -> None:
        self._run = run

    def deliver(self, hints: Sequence[Hint]) -> None:
        with self._lock:
            for hint in hints:
                self._hints += [hint] * self._random.randrange(3)
            self._random.shuffle(self._hints)

    def serve(self, options: ServeOptions) -> None:
        """Nothing to start: whoever pumps works."""

    def close(self, timeout: float) -> None:
        self._closed = True

    def pump(self) -> int:
        """Hand the hints that are here now to the worker; return how many found a job.

        Hints that come meanwhile wait for the next call.
        """
        with self._lock:
            count = len(self._hints)
        return sum(self._pump_one() is Ran.RAN for _ in range(count))

    def _pump_one(self) -> Ran:
        with self._lock:
            # A job that ran in between may have pumped as well.
            hint = self._hints.pop() if self._hints and not self._closed else None
            further = self._random.randrange(3)
        return Ran.EMPTY if hint is None else self._run(hint, _times(further))


def _times(count: int) -> Callable[[], bool]:
    """Return what is true *count* times: some drains end early, some go on."""
    left = iter(range(count))
    return lambda: next(left, None) is not None
