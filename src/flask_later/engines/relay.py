"""Hints on their way to somebody else's broker: bounded, and never in the way of who enqueues.

A hint is sent on the thread that has it, as long as they are few. In a stream of them a queue gets
one in each :data:`_SPACING`, since whoever takes it goes on with the jobs behind; and none while
its broker queue holds enough of them: whoever takes one of those comes after the commit, and finds
this job as well.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from flask_later.core.job import Hint
from flask_later.core.store import Store
from flask_later.errors import StoreError
from flask_later.errors.words import named
from flask_later.logs import Log
from flask_later.runtime.threads import start_thread

_logger = Log(__name__)

#: Seconds between two hints at one queue in a stream of them.
_SPACING = 0.005
#: Hints for each job that can run at a time: so many in a row are no stream yet, and so many are
#: enough where they wait.
_PER_SLOT = 4
#: Jobs that can run at a time, until the store was asked who works.
_UNKNOWN_SLOTS = 4
#: Seconds between two such questions.
_ASK_EVERY = 5.0
#: Seconds in which nothing is sent after a failure: the first and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Line(Protocol):
    """A connection to a broker, of one thread at a time."""

    def send(self, hint: Hint) -> None:
        """Send *hint*, within two seconds; raise whatever went wrong."""
        ...

    def waiting(self, queue: str) -> int:
        """Return how many messages the broker has for those who take from *queue*."""
        ...

    def close(self) -> None: ...


class MakeLine(Protocol):
    def __call__(self) -> Line: ...


class Relay:
    """Sends hints through a broker, from whatever process has them."""

    def __init__(self, make_line: MakeLine, store: Store, place: str) -> None:
        self._make_line = make_line
        self._store = store
        self._place = place
        self._sender: _Sender | None = None

    def deliver(self, hints: Sequence[Hint]) -> None:
        """Send *hints* soon, or drop them while the broker is out of reach. Never raises."""
        if hints:
            self._here().deliver(hints)

    def close(self) -> None:
        """Send what waits, and hang up. What is delivered later is sent all the same."""
        sender, self._sender = self._sender, None
        if sender is not None and sender.pid == os.getpid():
            sender.close()

    def _here(self) -> _Sender:
        sender = self._sender
        if sender is None or sender.pid != os.getpid():
            # What was inherited from before a fork is the parent's: its lock, its connection.
            sender = self._sender = _Sender(self._make_line, self._store, self._place)
        return sender


class _Sender:
    """What a :class:`Relay` is in one process."""

    def __init__(self, make_line: MakeLine, store: Store, place: str) -> None:
        self.pid = os.getpid()
        self._make_line = make_line
        self._place = place
        self._slots = _Slots(store)
        #: Held by the one thread that sends.
        self._turn = threading.Lock()
        self._line: Line | None = None
        #: What may be sent at each queue.
        self._allowances = defaultdict[str, _Allowance](_Allowance)
        #: Of what is owed, and of the thread that pays.
        self._lock = threading.Lock()
        #: The last hints at each queue that are owed: one for each job that may begin by them.
        self._owed: dict[str, deque[Hint]] = {}
        self._owing = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._resume_at = 0.0

    def deliver(self, hints: Sequence[Hint]) -> None:
        if self._is_paused:
            return
        late = hints
        if self._turn.acquire(blocking=False):
            try:
                late = [hint for hint in hints if not self._send_if_allowed(hint)]
            finally:
                self._turn.release()
        if late and not self._is_paused:
            self._owe(late)

    def close(self) -> None:
        self._closing.set()
        self._owing.set()
        with self._turn:
            self._pay()
            self._hang_up()

    @property
    def _is_paused(self) -> bool:
        return time.monotonic() < self._resume_at

    def _owe(self, hints: Iterable[Hint]) -> None:
        with self._lock:
            for hint in hints:
                self._owed.setdefault(hint.queue, deque(maxlen=self._slots.enough)).append(hint)
            if not self._owed or self._closing.is_set():
                return
            self._owing.set()
            if self._thread is None:
                # None can start while the interpreter ends: then the store's sweep hints again.
                with suppress(RuntimeError):
                    self._thread = start_thread("later-relay", self._work)

    def _work(self) -> None:
        while not self._closing.is_set():
            self._owing.wait()
            self._slots.look()
            with self._turn:
                self._pay()
            self._closing.wait(_SPACING)

    # By the thread whose turn it is

    def _pay(self) -> None:
        """Send one of the hints that are owed at each queue, if it has not had enough of them."""
        for queue, owed in self._take_owed().items():
            allowance = self._allowances[queue]
            # Looked at once they are taken: what comes from now on needs one that is sent later.
            if allowance.room <= 0 and not self._is_paused:
                allowance.room = self._slots.enough - self._waiting(queue)
            if allowance.room > 0 and not self._is_paused:
                allowance.take()
                self._try_to_send(owed.pop())
                self._owe(owed)

    def _take_owed(self) -> dict[str, deque[Hint]]:
        with self._lock:
            owed, self._owed = self._owed, {}
            if not self._closing.is_set():
                self._owing.clear()
        return owed

    def _send_if_allowed(self, hint: Hint) -> bool:
        """Send *hint* unless its queue has had enough; return whether that is done with."""
        if self._is_paused:
            return True
        allowance = self._allowances[hint.queue]
        if not allowance.is_left(self._slots.enough):
            return False
        allowance.take()
        self._try_to_send(hint)
        return True

    def _try_to_send(self, hint: Hint) -> None:
        try:
            self._send(hint)
        except Exception as error:
            self._fail(error)
        else:
            self._failures = 0

    def _send(self, hint: Hint) -> None:
        if self._line is not None:
            try:
                self._line.send(hint)
            except Exception:
                # The broker may have been started anew since the last one.
                self._hang_up()
            else:
                return
        self._connected().send(hint)

    def _waiting(self, queue: str) -> int:
        try:
            return self._connected().waiting(queue)
        except Exception as error:
            self._fail(error)
            return 0

    def _connected(self) -> Line:
        if self._line is None:
            self._line = self._make_line()
        return self._line

    def _fail(self, error: Exception) -> None:
        """Leave the broker alone for a while: the store has the jobs, and hints again."""
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._failures, 10), _LONGEST_PAUSE)
        self._failures += 1
        self._resume_at = time.monotonic() + pause
        self._hang_up()
        _logger.warning(
            "the broker %s cannot be used (%s); jobs are stored, and workers are told of them "
            "once it can. Trying again in %g s. See: flask later doctor",
            self._place,
            named(error),
            pause,
        )

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with suppress(Exception):
                line.close()


class _Allowance:
    """How many hints may be sent at one queue."""

    def __init__(self) -> None:
        #: How many fit into the broker's queue, of what is known.
        self.room = _PER_SLOT * _UNKNOWN_SLOTS
        self._saved = math.inf
        self._saved_at = time.monotonic()

    def is_left(self, most: int) -> bool:
        """Whether one may be sent: so many in a row, and then as they come in by and by."""
        now = time.monotonic()
        self._saved = min(most, self._saved + (now - self._saved_at) / _SPACING)
        self._saved_at = now
        return self.room > 0 and self._saved >= 1

    def take(self) -> None:
        self.room -= 1
        self._saved = max(0.0, self._saved - 1)


class _Slots:
    """How many jobs can run at a time, as far as the store knows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked_at = -_ASK_EVERY
        self._known = _UNKNOWN_SLOTS

    @property
    def enough(self) -> int:
        """How many hints no job that can run has to wait for, wherever they wait."""
        return _PER_SLOT * self._known

    def look(self) -> None:
        """Ask the store, unless that was done lately."""
        if time.monotonic() - self._asked_at < _ASK_EVERY:
            return
        self._asked_at = time.monotonic()
        with suppress(StoreError):
            self._known = max(1, sum(worker.threads for worker in self._store.workers()))
