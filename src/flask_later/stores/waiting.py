"""Waiting for what a store brings that several processes share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Generator
from typing import Any

from flask_later.core.clock import Clock, SystemClock
from flask_later.core.job import is_id
from flask_later.core.store import DUE
from flask_later.errors import StoreError

from .listener import Listener
from .peers import IDS, Peers, announced_as
from .seats import Seat
from .waiters import ANY, Waiters

#: Seconds that a thread sleeps at most where nothing can listen for it.
_ALONE = 0.5
#: Seconds for which others are told of job ids after the last thread here has waited for one.
_IDS_FOR = 10.0
#: Seconds to wait for a lock whose holder may itself wait: for a transaction, in a signal handler.
_SHORTLY = 0.1


class Waiting:
    """Who waits in this process, woken by its own threads and by other processes.

    :param find: returns those of the topics that have something; for ANY all queues that do.
    """

    def __init__(
        self, clock: Clock, peers: Peers, find: Callable[[Collection[str]], Collection[str]]
    ) -> None:
        self._clock = clock
        self._peers = peers
        self._find = find
        self._begin()

    def open(self) -> None:
        """Begin in this process, also in the child of a fork."""
        self._forget_parent()
        self._closed = False

    def _forget_parent(self) -> None:
        """In the child of a fork: nobody waits here, and whoever holds the lock is not here."""
        if self._pid != os.getpid():
            self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._closed = False
        # Entered again by a signal handler that enqueues: it may cost a hint, and never the thread.
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._announcing = threading.Lock()
        self._waiters = Waiters(self._lock, self._clock, self._has_something, self._hold_back)
        self._listener: Listener | None = None
        self._announced: frozenset[str] = frozenset()
        self._waited_for_ids = 0.0
        self._peers.begin()

    def close(self) -> None:
        """End every wait, and listen no more."""
        self._forget_parent()
        self._closed = True
        with self._lock:
            self._waiters.wake(())
        with self._starting:
            listener, self._listener = self._listener, None
        if listener is not None and listener.is_mine:
            listener.close()
            self._withdraw()

    def wait(self, topics: Collection[str], timeout: float, seat: Seat[Any] | None = None) -> None:
        """See :meth:`flask_later.core.store.Store.wait`; *seat* may be reserved meanwhile."""
        if timeout <= 0:
            return
        self._forget_parent()
        listener = self._attend(topics)
        if listener is None and isinstance(self._clock, SystemClock):
            timeout = min(timeout, _ALONE)
        # Looking and lying down under one lock: nobody's wake falls between the two.
        with self._lock:
            ready = self._find(topics or (ANY,))
            if not ready or self._waiters.has_just_missed(ready):
                notice = listener.notice if listener else None
                self._waiters.wait(topics, timeout, notice, seat)

    def is_awaited(self, queue: str) -> bool:
        """Whether a thread of this process waits for *queue*, or one of its parent did."""
        return self._waiters.any_for((queue,))

    def reserve(self, queue: str) -> Seat[Any] | None:
        """Return the seat of a thread here that a hint at *queue* would wake; it is woken.

        Whoever reserves it has to give it something, or nothing, in the end.
        """
        self._forget_parent()
        # Not waited for: a signal handler that interrupts its holder may wait for the transaction
        # in which this is asked.
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._waiters.reserve(queue)
        finally:
            self._lock.release()

    def wake(self, topics: Collection[str]) -> None:
        """See :meth:`flask_later.core.store.Store.wake`. Where nobody waits here, tell others."""
        self._forget_parent()
        if not topics:
            with self._lock:
                self._waiters.wake(())
            return
        elsewhere = self._elsewhere(topics)
        if len(elsewhere) < len(topics):
            with self._lock:
                self._waiters.wake(topics)
        if elsewhere:
            self._peers.send(elsewhere)

    def foretell(self, topics: Collection[str]) -> None:
        """As :meth:`wake`, for other processes, before a commit that none of them can overtake.

        They are on their way while it is written.
        """
        self._forget_parent()
        elsewhere = self._elsewhere(topics)
        if elsewhere:
            self._peers.send(elsewhere)

    def _elsewhere(self, topics: Collection[str]) -> list[str]:
        return [topic for topic in topics if not self._waiters.any_for((topic,))]

    def tell(self, ended: Collection[str], *, earlier: bool) -> None:
        """Say which jobs have ended, and whether a row falls due earlier than any did before."""
        if not ended and not earlier:
            return
        self._forget_parent()
        topics = [*ended, DUE] if earlier else [*ended]
        is_due_here = earlier and DUE in self._waiters.topics()
        # Not for long: see reserve. Those who were not woken look for themselves soon.
        if self._waiters.any_for(topics) and self._lock.acquire(timeout=_SHORTLY):
            try:
                for topic in topics:
                    self._waiters.wake_all(topic)
            finally:
                self._lock.release()
        if is_due_here:
            # One process that looks after what falls due is enough.
            topics.remove(DUE)
        if topics:
            self._peers.send(topics)

    def looked(self, got: int, wanted: int) -> None:
        """This thread has got work, and looks again once that is done."""
        self._waiters.looked(got, wanted)

    @contextlib.contextmanager
    def looking(self, wanted: int) -> Generator[list[object]]:
        """This thread looks for work meanwhile, and puts what it gets into the list.

        For stores where that takes a while, in which others still see what it will get.
        """
        got: list[object] = []
        self._waiters.looks()
        try:
            yield got
        finally:
            self._waiters.looked(len(got), wanted)

    # What the listener calls

    def has_waiters(self) -> bool:
        return self._waiters.any()

    def hear(self, topics: Collection[str]) -> None:
        heard = set(topics)
        if DUE in heard and not self._has_something(DUE):
            # Who told it looks after nothing, and knows of nothing earlier.
            heard.remove(DUE)
        if IDS in heard:
            heard.remove(IDS)
            heard.update(self._waiters.ids())
        with self._lock:
            self._wake(heard)

    def look(self) -> None:
        self._peers.look(self._look)

    def _look(self) -> None:
        ready = self._find(self._waiters.topics())
        with self._lock:
            self._wake(ready)

    def spread(self) -> None:
        with self._lock:
            unattended = self._waiters.spread()
        if unattended:
            self._peers.send(unattended)

    def tidy(self) -> None:
        topics = self._announced
        idle = self._clock.monotonic() - self._waited_for_ids
        if idle > _IDS_FOR and not self._waiters.ids():
            topics -= {IDS}
        if self._announced:
            with self._announcing:
                self._announce(topics)

    def _wake(self, topics: Collection[str]) -> None:
        queues: list[str] = []
        for topic in topics:
            if topic == DUE or is_id(topic):
                self._waiters.wake_all(topic)
            else:
                queues.append(topic)
        if queues:
            self._waiters.wake(queues)
        if self._peers.is_terse:
            for queue in queues:
                self._waiters.look_later(queue)

    def _has_something(self, topic: str) -> bool:
        try:
            return bool(self._find((topic,)))
        except StoreError:
            # Who is woken for nothing finds out what is wrong.
            return True

    def _hold_back(self) -> bool:
        """Whether hints are held back for a moment; then spread is called."""
        listener = self._listener
        if listener is None:
            return False
        listener.arm()
        return True

    # Listening

    def _attend(self, topics: Collection[str]) -> Listener | None:
        """See to it that what happens to *topics* elsewhere is heard here."""
        if not isinstance(self._clock, SystemClock) or self._closed:
            # On a clock that stands still nobody waits for what others do.
            return None
        listener = self._listener or self._listen()
        wanted = announced_as(topics)
        if IDS in wanted:
            self._waited_for_ids = self._clock.monotonic()
        if listener is not None and not wanted <= self._announced:
            with self._announcing:
                self._announce(self._announced | wanted)
        return listener

    def _listen(self) -> Listener | None:
        with self._starting:
            if self._listener is None and not self._closed:
                ear = self._peers.ear()
                listener = Listener(ear, self)
                try:
                    listener.start()
                except RuntimeError:
                    # The interpreter ends, or there are too many threads.
                    ear.close()
                    return None
                self._listener = listener
            return self._listener

    def _announce(self, topics: frozenset[str]) -> None:
        # Where that fails nobody tells this process anything, and it finds out by itself.
        with contextlib.suppress(StoreError):
            self._peers.announce(topics)
        self._announced = topics

    def _withdraw(self) -> None:
        self._announced = frozenset()
        # Where that fails, others find that nobody is there any more.
        with contextlib.suppress(StoreError):
            self._peers.withdraw()
