"""Threads that sleep until a topic may have something."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import cast

from flask_later.core.clock import Clock
from flask_later.stores.lock import PatientLock

#: What those who named no topic wait for: any queue.
_ANY = "@any"


class _Waiter:
    """A thread that sleeps. It has a condition of its own, so that a hint does not wake a herd."""

    __slots__ = ("condition", "has_more", "topics", "woken_for")

    def __init__(self, condition: threading.Condition, topics: Collection[str]) -> None:
        self.condition = condition
        self.topics = topics
        #: The queue whose hint has woken it.
        self.woken_for: str | None = None
        #: Whether its queue was hinted at again before it was back.
        self.has_more = False


class Waiters:
    """Who waits for which topic, under the lock of the store that owns it.

    Who is woken for a queue has to come back first, before the queue wakes the next: a burst of
    short jobs is done by few threads then, and not by all of them fighting for the GIL. Whoever
    comes back wakes the next at once if it is needed, so that long jobs spread over all threads.
    """

    def __init__(
        self,
        lock: PatientLock | threading.Lock,
        clock: Clock,
        has_something: Callable[[str], bool],
    ) -> None:
        self._lock = cast("threading.Lock", lock)
        self._clock = clock
        self._has_something = has_something
        # A dict keeps the order in which they came, and forgets one of them at once.
        self._waiting: dict[str, dict[_Waiter, None]] = {}
        #: Who was woken for a queue and is not back yet.
        self._coming: dict[str, _Waiter] = {}

    def any_for(self, topics: Collection[str]) -> bool:
        """Whether somebody waits for one of *topics*; an answer without the lock is good enough.

        Who lies down from now on sees what the caller has stored before.
        """
        waiting = self._waiting
        return not topics or _ANY in waiting or not waiting.keys().isdisjoint(topics)

    def wait(self, topics: Collection[str], timeout: float) -> None:
        """Sleep until woken or *timeout* seconds are over. The caller holds the lock."""
        waiter = _Waiter(threading.Condition(self._lock), topics or (_ANY,))
        for topic in waiter.topics:
            self._waiting.setdefault(topic, {})[waiter] = None
        try:
            self._clock.wait(waiter.condition, timeout)
        finally:
            self._forget(waiter)
            self._pass_on(waiter)

    def wake(self, topics: Collection[str]) -> None:
        """Wake one waiter of each queue, or everybody. The caller holds the lock."""
        if not topics:
            for topic in [*self._waiting]:
                self.wake_all(topic)
        for topic in topics:
            coming = self._coming.get(topic)
            if coming is None:
                self._wake_one(topic, has_more=False)
            else:
                coming.has_more = True

    def wake_all(self, topic: str) -> None:
        """Wake everybody who waits for *topic*. The caller holds the lock."""
        for waiter in self._waiting.get(topic, ()):
            waiter.condition.notify_all()

    def _wake_one(self, queue: str, *, has_more: bool) -> None:
        waiting = self._waiting.get(queue) or self._waiting.get(_ANY)
        if waiting:
            # The oldest; it leaves at once, so that the next hint wakes the next one.
            waiter = next(iter(waiting))
            self._forget(waiter)
            waiter.woken_for = queue
            waiter.has_more = has_more
            self._coming[queue] = waiter
            waiter.condition.notify_all()

    def _pass_on(self, waiter: _Waiter) -> None:
        """Wake the next one for the hints that came while *waiter* was on its way."""
        queue = waiter.woken_for
        if queue is not None:
            del self._coming[queue]
            if waiter.has_more and self._has_something(queue):
                # Of how many hints nobody has kept count: the next one looks again.
                self._wake_one(queue, has_more=True)

    def _forget(self, waiter: _Waiter) -> None:
        for topic in waiter.topics:
            waiting = self._waiting.get(topic)
            if waiting is not None:
                waiting.pop(waiter, None)
                if not waiting:
                    del self._waiting[topic]
