"""Waiting for what a file brings: the threads of this process, and its ear for all others."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from flask_later.core.clock import Clock, SystemClock
from flask_later.core.job import is_id
from flask_later.core.store import DUE
from flask_later.errors import StoreError
from flask_later.stores.waiters import ANY, Waiters

from .connection import Connection, Connections
from .jobs import Jobs
from .listener import POLL, Listener
from .rows import to_micros
from .wakeups import IDS, Address, Wakeups

#: Seconds for which others are told of job ids after the last thread here has waited for one.
_IDS_FOR = 10.0


class _Write(Protocol):
    def __call__(self, operation: Callable[[Jobs], Any]) -> Any: ...


class Waiting:
    """Who waits in this process, woken by its own threads and by other processes.

    :param ready: returns those of the topics that have something; of no topics, all queues that do.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        connections: Connections,
        read: Callable[[], AbstractContextManager[Connection]],
        write: _Write,
        ready: Callable[[Connection, Collection[str]], Collection[str]],
    ) -> None:
        self._path = path
        self._clock = clock
        self._connections = connections
        self._read = read
        self._write = write
        self._ready = ready
        self.wakeups = Wakeups()
        self._pid = 0
        self._begin()

    def open(self) -> None:
        """Begin in this process, also in the child of a fork."""
        if self._pid != os.getpid():
            # A thread that the fork left behind may hold the inherited lock for ever.
            self._begin()
        self._closed = False

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._announcing = threading.Lock()
        self._waiters = Waiters(self._lock, self._clock, self._has_something, self._hold_back)
        self._listener: Listener | None = None
        self._announced: frozenset[str] = frozenset()
        self._waited_for_ids = 0.0
        self._version = -1
        #: Whether those who wait for DUE are to hear of any change.
        self.on_guard = False
        self.wakeups.mine = None

    def close(self) -> None:
        """End every wait, and listen no more."""
        self._closed = True
        with self._lock:
            self._waiters.wake(())
        with self._starting:
            listener, self._listener = self._listener, None
        if listener is not None and listener.is_mine:
            listener.close()
            if listener.inbox is not None:
                self._withdraw(listener.inbox.address)
        self.wakeups.close()

    def wait(self, topics: Collection[str], timeout: float) -> None:
        """See :meth:`flask_later.core.store.Store.wait`."""
        if timeout <= 0:
            return
        listener = self._attend(topics)
        if listener is None and isinstance(self._clock, SystemClock):
            timeout = min(timeout, POLL)
        # Looking and lying down under one lock: nobody's wake falls between the two.
        with self._lock:
            with self._read() as db:
                if self._ready(db, topics):
                    return
            self._waiters.wait(topics, timeout, listener.notice if listener else None)

    def wake(self, topics: Collection[str]) -> None:
        """See :meth:`flask_later.core.store.Store.wake`. Where nobody waits here, tell others."""
        if not topics:
            with self._lock:
                self._waiters.wake(())
            return
        elsewhere = [topic for topic in topics if not self._waiters.any_for((topic,))]
        if len(elsewhere) < len(topics):
            with self._lock:
                self._waiters.wake(topics)
        if elsewhere:
            self.wakeups.send(dict.fromkeys(elsewhere))

    def tell(self, ended: Collection[str], earlier: bool) -> None:
        """Say which jobs have ended, and whether a row falls due earlier than any did before."""
        if not ended and not earlier:
            return
        topics = [*ended, DUE] if earlier else [*ended]
        if self._waiters.any_for(topics):
            if earlier and self._waiters.any_for((DUE,)):
                topics.remove(DUE)
            with self._lock:
                self._wake_all([*ended, DUE] if earlier else ended)
        self.wakeups.send(topics)

    def looked(self) -> None:
        """This thread has got work, and looks again once that is done."""
        self._waiters.looked()

    # What the listener calls

    def has_waiters(self) -> bool:
        return self._waiters.any()

    def hear(self, topics: Collection[str]) -> None:
        heard = set(topics)
        if DUE in heard and not self._has_something(DUE):
            heard.remove(DUE)
        if IDS in heard:
            heard.update(self._waiters.ids())
        with self._lock:
            self._wake(heard)

    def look(self) -> None:
        version = self._connections.get().data_version()
        if version == self._version:
            return
        with self._read() as db:
            ready = self._find_ready(db)
        with self._lock:
            self._wake([*ready, DUE] if self.on_guard else ready)
        self._version = version

    def spread(self) -> None:
        with self._lock:
            unattended = self._waiters.spread()
        if unattended:
            self.wakeups.send(unattended)

    def tidy(self) -> None:
        listener = self._listener
        if listener is None or listener.inbox is None:
            return
        address, topics = listener.inbox.address, self._announced
        idle = self._clock.monotonic() - self._waited_for_ids
        if idle > _IDS_FOR and not self._waiters.ids():
            topics -= {IDS}
        with self._read() as db:
            announced = self.wakeups.announced(db, address)
        if announced != topics:
            with self._announcing:
                self._announce(address, topics)

    def _find_ready(self, db: Connection) -> list[str]:
        topics = self._waiters.topics()
        named = [topic for topic in topics if topic != ANY]
        ready = [*self._ready(db, named)] if named else []
        return [*ready, *self._ready(db, ())] if ANY in topics else ready

    def _wake(self, topics: Collection[str]) -> None:
        queues: list[str] = []
        for topic in topics:
            if topic == DUE or is_id(topic):
                self._waiters.wake_all(topic)
            else:
                queues.append(topic)
        if queues:
            self._waiters.wake(queues)

    def _wake_all(self, topics: Collection[str]) -> None:
        for topic in topics:
            self._waiters.wake_all(topic)

    def _has_something(self, queue: str) -> bool:
        with self._read() as db:
            return bool(self._ready(db, (queue,)))

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
        if listener is None or listener.inbox is None:
            return listener
        wanted = _to_announce(topics)
        if IDS in wanted:
            self._waited_for_ids = self._clock.monotonic()
        if not wanted <= self._announced:
            with self._announcing:
                self._announce(listener.inbox.address, self._announced | wanted)
        return listener

    def _listen(self) -> Listener | None:
        with self._starting:
            if self._listener is None and not self._closed:
                listener = Listener(self._path, self)
                try:
                    listener.start()
                except RuntimeError:
                    # The interpreter ends, or there are too many threads.
                    return None
                self._listener = listener
                if listener.inbox is not None:
                    self.wakeups.mine = listener.inbox.address
            return self._listener

    def _announce(self, address: Address, topics: frozenset[str]) -> None:
        def announce(jobs: Jobs) -> None:
            self.wakeups.announce(jobs.db, address, topics, to_micros(jobs.now))

        # Where that fails nobody tells this process anything, and it finds out by itself.
        with contextlib.suppress(StoreError):
            self._write(announce)
        self._announced = topics

    def _withdraw(self, address: Address) -> None:
        self._announced = frozenset()
        self.wakeups.mine = None
        with contextlib.suppress(StoreError):
            self._write(lambda jobs: self.wakeups.withdraw(jobs.db, [address.name]))


def _to_announce(topics: Collection[str]) -> frozenset[str]:
    if not topics:
        return frozenset({ANY})
    return frozenset(IDS if is_id(topic) else topic for topic in topics)
