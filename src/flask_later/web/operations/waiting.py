"""Bounded long polls: each holds a thread of the server, so only a few may wait at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from flask import Request

from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.tasks.state import AppState

from .document import etag, is_known
from .operation import Operation

#: Seconds between two looks at what no event tells of: progress, which is stored twice a second.
_LOOK_EVERY = 0.5
#: Who may wait where nothing is said: a quarter of the four threads that servers have by default.
_FEW = 1


class Places:
    """Those who may hold a thread of this process at a time, and one principal not all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str | None] = Counter()

    def take(self, principal: str | None, most: int) -> Callable[[], None] | None:
        """Take one of *most* places; returns what gives it back, or None if none is left."""
        with self._lock:
            # Nobody in particular is many.
            own = most if principal is None else (most + 1) // 2
            if self._taken.total() >= most or self._taken[principal] >= own:
                return None
            self._taken[principal] += 1
        return partial(self._leave, principal)

    def _leave(self, principal: str | None) -> None:
        with self._lock:
            self._taken[principal] -= 1
            if not self._taken[principal]:
                del self._taken[principal]


class Waited(NamedTuple):
    """The operation after the wait, and for how many seconds at most that was; None for none."""

    operation: Operation
    seconds: int | None = None


class Waiting:
    """Lets clients wait, as long as they prefer and this process can afford."""

    def __init__(self) -> None:
        self._places = Places()

    def wait(
        self,
        state: AppState,
        request: Request,
        operation: Operation,
        preferred: int | None,
        known: str | None = None,
    ) -> Waited:
        """Return the operation once it is finished, or is not as *known* says, an ETag.

        After *preferred* seconds it is returned as it is then.
        """
        seconds = min(preferred or 0, int(state.settings.max_wait))
        if operation.is_done and seconds:
            return Waited(operation, seconds)
        if not seconds or state.parts.manual:
            return Waited(operation)
        leave = self._places.take(operation.owner, _most(state, request))
        if leave is None:
            return Waited(operation)
        try:
            return Waited(_changed(state, operation, seconds, known), seconds)
        finally:
            leave()


def _most(state: AppState, request: Request) -> int:
    """Return how many may wait: none if this process could not serve anybody else meanwhile."""
    most = state.settings.max_waiters
    if most is not None:
        return most
    return _FEW if request.environ.get("wsgi.multithread") else 0


def _changed(state: AppState, operation: Operation, seconds: float, known: str | None) -> Operation:
    clock, store = state.clock, state.store
    deadline = clock.monotonic() + seconds
    lifecycle: Lifecycle = state.app.extensions[LIFECYCLE_KEY]
    while not operation.is_done and (known is None or is_known(etag(operation.record), known)):
        left = deadline - clock.monotonic()
        if left <= 0 or lifecycle.is_stopped:
            break
        store.wait((operation.id,), left if known is None else min(left, _LOOK_EVERY))
        record = store.glance(operation.id)
        if record is None:
            # Deleted meanwhile; the next look will say so.
            break
        operation = operation._replace(record=record)
    return operation
