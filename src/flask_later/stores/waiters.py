"""Threads that sleep until a topic may have something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, cast

from flask_later.core.clock import Clock
from flask_later.core.job import is_id
from flask_later.stores.lock import PatientLock

from .seats import Seat

#: What those who named no topic wait for: any queue.
ANY = "@any"
#: Seconds for which a process that was told of a queue is not told of it again. It looks at the
#: queue by itself once they are over.
QUIET = 0.004
#: Seconds in which a thread that has got a job is taken to run a short one, and to look again.
_LOOKS_AGAIN = 0.002
#: The same for a thread that has done so before.
_KEEPS_UP = 0.01
#: Seconds for a job, below which more threads would only get into each other's way.
_TINY = 0.0005
#: Seconds for which a thread is taken to be about to get work: asking a database takes a while.
_LOOKS = 0.05


class _Waiter:
    """A thread that sleeps. It has a condition of its own, so that a hint does not wake a herd."""

    __slots__ = ("condition", "goes_on", "has_more", "seat", "topics", "woken_for")

    def __init__(
        self,
        condition: threading.Condition,
        topics: Collection[str],
        seat: Seat[Any] | None = None,
    ) -> None:
        self.condition = condition
        self.topics = topics
        #: Where it can be handed a job.
        self.seat = seat
        #: The queue whose hint has woken it.
        self.woken_for: str | None = None
        #: Whether its queue was hinted at again before it was back.
        self.has_more = False
        #: Whether it wakes the next at once, since nobody else looks.
        self.goes_on = False


class _Look(NamedTuple):
    """When a thread has got work, how much, and whether it left any behind."""

    at: float
    got: int
    took_all: bool
    #: Whether it comes back so soon that nobody else is needed.
    keeps_up: bool

    def may_look_again(self, now: float) -> bool:
        return now - self.at < (_KEEPS_UP if self.keeps_up else _LOOKS_AGAIN)

    def kept_up(self, now: float) -> bool:
        """Whether who has looked so, and is back now, has done all there was in no time."""
        took = now - self.at
        return took < _KEEPS_UP and (self.took_all or took < _TINY * self.got)


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
        lock: PatientLock | threading.RLock,
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
        #: Queues to look at in a moment, and whether others are to hear of what nobody attends to.
        self._held: dict[str, bool] = {}
        #: What which thread has got.
        self._looked: dict[int, _Look] = {}
        #: Since when which thread looks for work, and when it found none.
        self._looking: dict[int, float] = {}
        self._missed: dict[int, float] = {}
        #: Queues that have something which nobody has got so far.
        self._doubtful: set[str] = set()

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
        if not waiting:
            return False
        return not topics or ANY in waiting or not waiting.keys().isdisjoint(topics)

    def wait(
        self,
        topics: Collection[str],
        timeout: float,
        notice: Callable[[], None] | None = None,
        seat: Seat[Any] | None = None,
    ) -> None:
        """Sleep until woken or *timeout* seconds are over. The caller holds the lock.

        *notice* is called before that, when everybody can see that this thread waits. Its *seat*
        may be reserved then.
        """
        self._looked.pop(threading.get_ident(), None)
        waiter = _Waiter(threading.Condition(self._lock), topics or (ANY,), seat)
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

    def reserve(self, queue: str) -> Seat[Any] | None:
        """Wake one waiter of *queue* and reserve its seat, if a hint would wake one that has one.

        Who has reserved it is not to hint at what was claimed. The caller holds the lock.
        """
        waiter = self._oldest(queue)
        if waiter is None or waiter.seat is None:
            return None
        if queue in self._coming or self._looks_again():
            return None
        seat = waiter.seat
        seat.reserve()
        self._looked[seat.thread] = _Look(time.monotonic(), 1, False, False)
        self._wake_one(queue)
        return seat

    def wake_all(self, topic: str) -> None:
        """Wake everybody who waits for *topic*. The caller holds the lock."""
        for waiter in self._waiting.get(topic, ()):
            waiter.condition.notify_all()

    def looks(self) -> None:
        """This thread looks for work now; :meth:`looked` says what came of it."""
        self._looking[threading.get_ident()] = time.monotonic()

    def looked(self, got: int, wanted: int) -> None:
        """This thread has got work, and looks again once it is done; or it has got none."""
        me, now = threading.get_ident(), time.monotonic()
        self._looking.pop(me, None)
        if not got:
            self._missed[me] = now
            return
        self._doubtful.clear()
        before = self._looked.get(me)
        keeps_up = before is not None and before.kept_up(now)
        self._looked[me] = _Look(now, got, got < wanted, keeps_up)

    def look_later(self, queue: str) -> bool:
        """Have :meth:`spread` look at *queue*: hints that follow on one are not sent.

        Returns whether that can be done.
        """
        if self._hold_back is None or not self._hold_back():
            return False
        self._held.setdefault(queue, False)
        return True

    def has_just_missed(self, ready: Collection[str]) -> bool:
        """Whether this thread has looked a moment ago and got nothing of what is *ready*.

        Then others are about to claim it, and are not to be got in the way of. In case they are
        not, :meth:`spread` will wake somebody for it. The caller holds the lock.
        """
        missed_at = self._missed.pop(threading.get_ident(), -_LOOKS)
        if time.monotonic() - missed_at > _LOOKS or not all(map(is_queue, ready)):
            return False
        self._doubtful.update(ready)
        return all(map(self.look_later, ready))

    def spread(self) -> list[str]:
        """Wake those whose hints were held back; return queues for which nobody waits here.

        Nobody while a thread keeps up with what comes; one for each queue, and the next in a
        moment, while there is a thread that looks again; otherwise one after the other. The caller
        holds the lock.
        """
        held, self._held = self._held, {}
        looks = self._looks_again()
        unattended: list[str] = []
        for queue in filter(self._has_something, held):
            if any(look.keeps_up for look in looks):
                self._hold(queue)
            elif not self.any_for((queue,)):
                unattended += [queue] if held[queue] else []
            elif queue not in self._coming:
                self._wake_one(queue, goes_on=not looks and queue not in self._doubtful)
                if looks:
                    self._hold(queue)
        return unattended

    def _looks_again(self) -> list[_Look]:
        """Return the looks of those that look now, or will be back in a moment."""
        now = time.monotonic()
        return [
            *(look for look in [*self._looked.values()] if look.may_look_again(now)),
            *(_Look(at, 0, False, False) for at in [*self._looking.values()] if now - at < _LOOKS),
        ]

    def _hold(self, queue: str) -> bool:
        if self._hold_back is None or not is_queue(queue) or not self._hold_back():
            return False
        self._held[queue] = True
        return True

    def _wake_one(self, queue: str, *, goes_on: bool = False) -> None:
        waiter = self._oldest(queue)
        if waiter is not None:
            # It leaves at once, so that the next hint wakes the next one.
            self._forget(waiter)
            waiter.woken_for = queue
            waiter.has_more = waiter.goes_on = goes_on
            self._coming[queue] = waiter
            waiter.condition.notify_all()

    def _oldest(self, queue: str) -> _Waiter | None:
        waiting = self._waiting.get(queue) or self._waiting.get(ANY)
        return next(iter(waiting)) if waiting else None

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


def is_queue(topic: str) -> bool:
    """Whether *topic* is a queue, and neither a job nor what stands for many."""
    return not topic.startswith("@") and not is_id(topic)


def those_ready(
    topics: Collection[str], runnable: Collection[str], is_ready: Callable[[str], bool]
) -> list[str]:
    """Return those of *topics* that have something, and for ANY all of *runnable*."""
    named = [each for each in topics if each in runnable or is_ready(each)]
    return [*dict.fromkeys([*named, *runnable])] if ANY in topics else named


def asks_for_queues(topics: Collection[str]) -> bool:
    """Whether one of *topics* is a queue, or stands for all of them."""
    return ANY in topics or any(map(is_queue, topics))
