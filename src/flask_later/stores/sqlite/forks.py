"""No fork while a thread is inside of SQLite.

SQLite keeps in each process which connection writes, behind locks of its own. A child would find
them as they were at the fork: locked by a thread that it does not have, and so for ever.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Protocol, TypeVar
from weakref import WeakSet


class Lock(Protocol):
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


L = TypeVar("L", bound=Lock)

#: Seconds for which a fork waits for the transactions in hand; longer, and it takes its chances.
_PATIENCE = 10.0

#: Those of writers before those of readers: who closes a connection takes them in that order.
_writing: WeakSet[Lock] = WeakSet()
_reading: WeakSet[Lock] = WeakSet()
#: Held while a file is made ready or a connection is opened, and while the sets change.
opening = threading.RLock()
_held: list[Lock] = []


def spare_writing(lock: L) -> L:
    """Let no fork happen while *lock* is held: its holder writes."""
    with opening:
        _writing.add(lock)
    return lock


def spare_reading(lock: L) -> L:
    """Let no fork happen while *lock* is held: its holder reads."""
    with opening:
        _reading.add(lock)
    return lock


def _before() -> None:
    deadline = time.monotonic() + _PATIENCE
    _acquire(opening, deadline)
    for lock in (*_writing, *_reading):
        _acquire(lock, deadline)


def _acquire(lock: Lock, deadline: float) -> None:
    if lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        _held.append(lock)


def _after() -> None:
    while _held:
        _held.pop().release()


if sys.platform != "win32":
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
