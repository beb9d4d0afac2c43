"""Threads that sleep until a topic may have something."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import cast

from flask_later.core.clock import Clock
from flask_later.stores.lock import PatientLock

#: What those who named no topic wait for: any queue.
_ANY = "@any"


class Waiters:
    """Who waits for which topic, under the lock of the store that owns it.

    Every waiter has a condition of its own, so that a hint wakes one thread and not the herd.
    """

    def __init__(self, lock: PatientLock | threading.Lock, clock: Clock) -> None:
        self._lock = lock
        self._clock = clock
        # A dict keeps the order in which they came, and forgets one of them at once.
        self._waiting: dict[str, dict[threading.Condition, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self, topics: Collection[str], timeout: float) -> None:
        """Sleep until woken or *timeout* seconds are over. The caller holds the lock."""
        condition = threading.Condition(cast("threading.Lock", self._lock))
        topics = topics or (_ANY,)
        for topic in topics:
            self._waiting.setdefault(topic, {})[condition] = None
        try:
            self._clock.wait(condition, timeout)
        finally:
            for topic in topics:
                self._forget(topic, condition)

    def wake(self, topics: Collection[str]) -> None:
        """Wake one waiter of each queue, or everybody. The caller holds the lock."""
        for topic in topics or [*self._waiting]:
            if topics:
                self._wake_one(topic)
            else:
                self.wake_all(topic)

    def wake_all(self, topic: str) -> None:
        """Wake everybody who waits for *topic*. The caller holds the lock."""
        for condition in self._waiting.get(topic, ()):
            condition.notify_all()

    def _wake_one(self, topic: str) -> None:
        waiting = self._waiting.get(topic) or self._waiting.get(_ANY)
        if waiting:
            # The oldest; it leaves at once, so that the next hint wakes the next one.
            condition = next(iter(waiting))
            for each in [
                name for name, conditions in self._waiting.items() if condition in conditions
            ]:
                self._forget(each, condition)
            condition.notify_all()

    def _forget(self, topic: str, condition: threading.Condition) -> None:
        conditions = self._waiting.get(topic)
        if conditions is not None:
            conditions.pop(condition, None)
            if not conditions:
                del self._waiting[topic]
