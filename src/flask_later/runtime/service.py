"""What a user subclasses: a :class:`Service`, or a :class:`QueueService` for items in memory.

::

    @later.service
    class Notifications(Service):
        def startup(self) -> None:
            self.connection = connect()

        def handle(self) -> None:
            self.connection.poll()
            self.wait(1.0)

        def shutdown(self) -> None:
            self.connection.close()
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from flask_later.config import seconds
from flask_later.core.clock import Clock
from flask_later.errors import ServiceQueueFullError, ServiceStoppedError, UsageError

Item = TypeVar("Item")
Seconds: TypeAlias = float | timedelta
#: The process ends; :meth:`ServiceHandle.stop` was called; or ``restart``.
StopReason: TypeAlias = Literal["shutdown", "stop", "restart"]

#: The part of the time to stop in which queued items are handled; ``shutdown`` gets the rest.
_DRAIN_SHARE = 0.8


class App(Protocol):
    """What a service sees of the Flask app. Inside the hooks ``current_app`` is the whole of it."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def extensions(self) -> Mapping[str, Any]: ...
    def app_context(self) -> AbstractContextManager[object]: ...


class Control:
    """Whether one start of a service should end. The runner sets it, the service waits on it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        #: Guards everything here and in the inbox, so that a stop wakes whoever waits.
        self.changed = threading.Condition()
        self.stop_reason: StopReason | None = None
        self._drain_until: float | None = None

    def stop(self, reason: StopReason) -> None:
        """Ask for the end. The first reason stays."""
        with self.changed:
            self.stop_reason = self.stop_reason or reason
            self.changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait for *timeout* seconds or the stop; return whether it came."""
        with self.changed:
            deadline = self.clock.monotonic() + timeout
            while self.stop_reason is None:
                if not self.wait_until(deadline):
                    return False
            return True

    def wait_until(self, deadline: float) -> bool:
        """Wait once for a change, ``changed`` held. False: *deadline* is over, nothing waited."""
        left = deadline - self.clock.monotonic()
        if left <= 0:
            return False
        self.clock.wait(self.changed, min(left, threading.TIMEOUT_MAX))
        return True

    def limit_drain(self, deadline: float) -> None:
        """Say when, in ``time.monotonic()``, the thread should have ended. The last word counts."""
        now = time.monotonic()
        until = now + _DRAIN_SHARE * (deadline - now)
        with self.changed:
            self._drain_until = until

    def may_take(self) -> bool:
        """Whether another queued item may be handled, ``changed`` held."""
        if self.stop_reason is None or self._drain_until is None:
            return True
        return time.monotonic() < self._drain_until


class Inbox(Generic[Item]):
    """The bounded queue of one start of a :class:`QueueService`.

    It is no part of the instance: ``put`` works as soon as the service was started, even while its
    constructor or ``startup`` still fails.
    """

    def __init__(self, service: str, maxsize: int, control: Control) -> None:
        self._service = service
        self._maxsize = maxsize
        self._control = control
        self._items: deque[Item] = deque()

    def put(self, item: Item, timeout: float) -> None:
        control = self._control
        with control.changed:
            deadline = control.clock.monotonic() + timeout
            while control.stop_reason is None and len(self._items) >= self._maxsize:
                if not control.wait_until(deadline):
                    raise ServiceQueueFullError(self._service, self._maxsize)
            # Asked last and under the lock: what is put after a stop would be handled by nobody.
            if control.stop_reason is not None:
                raise ServiceStoppedError(self._service)
            self._items.append(item)
            control.changed.notify_all()

    def take(self) -> list[Item]:
        """Wait for an item, and return it alone; an empty list when the service should end."""
        control = self._control
        with control.changed:
            while not self._items and control.stop_reason is None:
                control.clock.wait(control.changed, None)
            if not self._items or not control.may_take():
                return []
            item = self._items.popleft()
            control.changed.notify_all()
            return [item]

    def takeable(self) -> int:
        """How many items wait and may still be handled."""
        with self._control.changed:
            return len(self._items) if self._control.may_take() else 0

    def drop(self) -> int:
        """Throw away what still waits, and return how many items that were."""
        with self._control.changed:
            dropped = len(self._items)
            self._items.clear()
            return dropped

    def __len__(self) -> int:
        return len(self._items)


@dataclass(frozen=True, slots=True)
class Binding:
    """What the runner gives an instance before ``startup``."""

    name: str
    app: App
    logger: logging.Logger
    control: Control
    inbox: Inbox[Any] | None

    @property
    def queue(self) -> Inbox[Any]:
        assert self.inbox is not None, "a QueueService is always bound with its inbox"
        return self.inbox


class ServiceBase:
    """What :class:`Service` and :class:`QueueService` have in common; subclass one of those.

    There is one instance for each app, process and start; after a crash the same instance goes
    on. It is made without arguments. Set up in :meth:`startup`, not in ``__init__``: a new run
    after a crash calls it again, and only there are ``name``, ``app`` and ``logger`` known.
    """

    _binding: Binding | None = None

    def bind_to_app(self, binding: Binding) -> None:
        """Take what the runner gives; called by it alone, right after ``__init__``."""
        self._binding = binding

    @property
    def _bound(self) -> Binding:
        if self._binding is None:
            raise UsageError(
                f"This {type(self).__name__} was not started by Flask-Later: it has no name, app "
                f"or stop. Use them from startup() on, not in __init__. The instance that runs is "
                f"later.services[{type(self).__name__}].service."
            )
        return self._binding

    @property
    def name(self) -> str:
        """The name it is registered under."""
        return self._bound.name

    @property
    def app(self) -> App:
        """The Flask app it runs for."""
        return self._bound.app

    @property
    def logger(self) -> logging.Logger:
        """The logger ``flask_later.services.<name>``."""
        return self._bound.logger

    @property
    def stopping(self) -> bool:
        """Whether it should end: return from ``handle`` soon."""
        return self._bound.control.stop_reason is not None

    @property
    def stop_reason(self) -> StopReason | None:
        """Why it should end, or None."""
        return self._bound.control.stop_reason

    def wait(self, timeout: Seconds) -> bool:
        """Pause, but no longer than until the stop; return whether the service should end."""
        # What is left until some moment may well be negative.
        pause = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        return self._bound.control.wait(pause)

    def startup(self) -> None:
        """Run before the first ``handle``, and again after a crash. Does nothing by itself.

        If it raises, ``shutdown`` is not called, and it is tried again later.
        """

    def shutdown(self) -> None:
        """Run once for each ``startup`` that succeeded: after a stop, and after a crash.

        Does nothing by itself. What it raises is logged.
        """


class Service(ServiceBase, ABC):
    """A long-lived thread of the app that calls :meth:`handle` in a loop."""

    @abstractmethod
    def handle(self) -> None:
        """Do one round of work. Called in a loop, each time in a fresh app context.

        Pause with :meth:`wait`, or register the service with ``every=``. A round that takes long
        should look at :attr:`stopping`.
        """


class QueueService(ServiceBase, ABC, Generic[Item]):
    """A long-lived thread that handles items from a bounded queue in memory, one after another.

    The queue is lost with the process; work that must survive belongs in a task. An item whose
    ``handle`` raises is not handled again.
    """

    #: How many items may wait.
    maxsize: ClassVar[int] = 1000

    @abstractmethod
    def handle(self, item: Item) -> None:
        """Handle one item, in a fresh app context.

        After a stop the queued items are still handled, with :attr:`stopping` true, while most of
        the time to stop is not over; the rest is counted and logged.
        """

    def put(self, item: Item, timeout: Seconds = 0.0) -> None:
        """Queue *item*; wait for room for *timeout* seconds if the queue is full.

        :raises ServiceQueueFullError: if there was no room in that time.
        :raises ServiceStoppedError: if the service should end.
        """
        self._bound.queue.put(item, seconds("timeout", timeout))

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return len(self._bound.queue)
