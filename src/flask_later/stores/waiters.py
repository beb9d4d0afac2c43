"""Threads that sleep until a topic may have something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import cast

from flask_later.core.clock import Clock
from flask_later.core.job import is_id
from flask_later.stores.lock import PatientLock

#: What those who named no topic wait for: any queue.
ANY = "@any"
#: Seconds in which a thread that has got a job is taken to run a short one, and to look again.
_LOOKS_AGAIN = 0.002


class _Waiter:
    """A thread that sleeps. It has a condition of its own, so that a hint does not wake a herd."""

    __slots__ = ("condition", "goes_on", "has_more", "topics", "woken_for")

    def __init__(self, condition: threading.Condition, topics: Collection[str]) -> None:
        self.condition = condition
        self.topics = topics
        #: The queue whose hint has woken it.
        self.woken_for: str | None = None
        #: Whether its queue was hinted at again before it was back.
        self.has_more = False
        #: Whether it wakes the next at once, since nobody else looks.
        self.goes_on = False


class Waiters:
    """Who waits for which topic, under the lock of the store that owns it.

    Who is woken for a queue has to come back first, before the queue wakes the next: a burst of
    short jobs is done by few threads then, and not by all of them fighting for the GIL. Whoever
    comes back wakes the next at once if it is needed, so that long jobs spread over all threads.

    With *hold_back*, a hint wakes nobody while a thread looks again by itself: one that has just
    got a job, which is a short one for all we know. *hold_back* sees to it that :meth:`spread` is
    called some milliseconds later, which wakes the others if the job was long; it returns False if
    it cannot.
    """

    def __init__(
        self,
        lock: PatientLock | threading.Lock,
        clock: Clock,
        has_something: Callable[[str], bool],
        hold_back: Callable[[], bool] | None = None,
    ) -> None:
        self._lock = cast("threading.Lock", lock)
        self._clock = clock
        self._has_something = has_something
        # A dict keeps the order in which they came, and forgets one of them at once.
        self._waiting: dict[str, dict[_Waiter, None]] = {}
        #: Who was woken for a queue and is not back yet.
        self._coming: dict[str, _Waiter] = {}
        self._hold_back = hold_back
        #: Queues with hints that have woken nobody yet.
        self._held: set[str] = set()
        #: When which thread has got work.
        self._looked: dict[int, float] = {}

    def any(self) -> bool:
        """Whether anybody waits; without the lock, as below."""
        return bool(self._waiting)

    def topics(self) -> list[str]:
        """Return what is waited for, :data:`ANY` for any queue."""
        return [*self._waiting]

    def ids(self) -> list[str]:
        """Return the job ids that are waited for."""
        return [topic for topic in self.topics() if is_id(topic)]

    def any_for(self, topics: Collection[str]) -> bool:
        """Whether somebody waits for one of *topics*; an answer without the lock is good enough.

        Who lies down from now on sees what the caller has stored before.
        """
        waiting = self._waiting
        return not topics or ANY in waiting or not waiting.keys().isdisjoint(topics)

    def wait(
        self,
        topics: Collection[str],
        timeout: float,
        notice: Callable[[], None] | None = None,
    ) -> None:
        """Sleep until woken or *timeout* seconds are over. The caller holds the lock.

        *notice* is called before that, when everybody can see that this thread waits.
        """
        self._looked.pop(threading.get_ident(), None)
        waiter = _Waiter(threading.Condition(self._lock), topics or (ANY,))
        for topic in waiter.topics:
            self._waiting.setdefault(topic, {})[waiter] = None
        if notice is not None:
            notice()
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
            if coming is not None:
                coming.has_more = True
            elif not (self._looks_again() and self._hold(topic)):
                self._wake_one(topic)

    def wake_all(self, topic: str) -> None:
        """Wake everybody who waits for *topic*. The caller holds the lock."""
        for waiter in self._waiting.get(topic, ()):
            waiter.condition.notify_all()

    def looked(self) -> None:
        """This thread has got work, and looks again once it is done."""
        self._looked[threading.get_ident()] = time.monotonic()

    def spread(self) -> list[str]:
        """Wake those whose hints were held back; return queues for which nobody waits here.

        One for each queue, and the next in a moment, while there is a thread that looks again;
        otherwise one after the other. The caller holds the lock.
        """
        held, self._held = self._held, set()
        looks_again = self._looks_again()
        unattended: list[str] = []
        for queue in filter(self._has_something, held):
            if not self.any_for((queue,)):
                unattended.append(queue)
            elif queue not in self._coming:
                self._wake_one(queue, goes_on=not looks_again)
                if looks_again:
                    self._hold(queue)
        return unattended

    def _looks_again(self) -> bool:
        since = time.monotonic() - _LOOKS_AGAIN
        return any(at >= since for at in [*self._looked.values()])

    def _hold(self, queue: str) -> bool:
        if self._hold_back is None or queue.startswith("@") or not self._hold_back():
            return False
        self._held.add(queue)
        return True

    def _wake_one(self, queue: str, *, goes_on: bool = False) -> None:
        waiting = self._waiting.get(queue) or self._waiting.get(ANY)
        if waiting:
            # The oldest; it leaves at once, so that the next hint wakes the next one.
            waiter = next(iter(waiting))
            self._forget(waiter)
            waiter.woken_for = queue
            waiter.has_more = waiter.goes_on = goes_on
            self._coming[queue] = waiter
            waiter.condition.notify_all()

    def _pass_on(self, waiter: _Waiter) -> None:
        """Wake the next one for the hints that came while *waiter* was on its way."""
        queue = waiter.woken_for
        if queue is not None:
            del self._coming[queue]
            more = waiter.has_more and self._has_something(queue)
            if more and (waiter.goes_on or not self._hold(queue)):
                # Of how many hints nobody has kept count: the next one looks again.
                self._wake_one(queue, goes_on=True)

    def _forget(self, waiter: _Waiter) -> None:
        for topic in waiter.topics:
            waiting = self._waiting.get(topic)
            if waiting is not None:
                waiting.pop(waiter, None)
                if not waiting:
                    del self._waiting[topic]
