"""The services of one app in one process: started, stopped and looked up here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar, overload

from flask_later.config import seconds
from flask_later.core.clock import Clock
from flask_later.errors import InvalidTaskError, ServiceStoppedError, UnknownServiceError
from flask_later.logs import Log

from .service import App, Item, QueueService, Seconds, ServiceBase, StopReason
from .service_definitions import S_co, ServiceDefinition
from .service_thread import Facts, ServiceInfo, ServiceStatus, ServiceThread

S = TypeVar("S", bound=ServiceBase)

_logger = Log(__name__)


class ServiceHandle(Generic[S_co]):
    """A service of the current process, as ``later.services[X]`` gives it.

    All methods may be called from any thread, the service's own included. At no time do two
    threads run the same service: a start waits until the one before has ended.
    """

    def __init__(self, definition: ServiceDefinition[S_co], app: App, clock: Clock) -> None:
        self._definition = definition
        self._app = app
        self._clock = clock
        self._facts = Facts(clock)
        # It guards the three below too, so that the status always fits them.
        self._lock = self._facts.lock
        self._current: ServiceThread[S_co] | None = None
        #: Start again as soon as the current one has ended.
        self._again = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<ServiceHandle {self.name!r} {self.status}>"

    @property
    def name(self) -> str:
        return self._definition.name

    @property
    def status(self) -> ServiceStatus:
        return self._facts.status

    @property
    def info(self) -> ServiceInfo:
        """All facts, taken at one moment."""
        with self._lock:
            inbox = self._current.inbox if self._current is not None else None
            return self._facts.snapshot(self.name, len(inbox) if inbox is not None else None)

    @property
    def service(self) -> S_co | None:
        """The instance that runs; None before its constructor has returned, and after the end."""
        with self._lock:
            current = self._current
            return None if current is None else current.instance

    def start(self) -> None:
        """Start the service; returns at once. Does nothing if it is started.

        If it is just stopping, it starts again as soon as it has ended.
        """
        with self._lock:
            self._begin()

    def stop(self, timeout: Seconds = 5.0) -> bool:
        """Stop the service, and wait for its end for *timeout* seconds; return whether it came.

        A service that is still busy is left alone: it ends when its ``handle`` returns. Called
        by the service itself, this only asks for the end and returns False.
        """
        within = seconds("timeout", timeout)
        with self._lock:
            current = self._halt("stop")
        return self._wait_for_end(current, within)

    def restart(self, timeout: Seconds = 5.0) -> bool:
        """Stop the service, and start it as soon as it has ended, even if that takes longer.

        Return whether it has ended within *timeout* seconds.
        """
        within = seconds("timeout", timeout)
        with self._lock:
            current = self._halt("restart")
            self._begin()
        return self._wait_for_end(current, within)

    def put(self: ServiceHandle[QueueService[Item]], item: Item, timeout: Seconds = 0.0) -> None:
        """Queue *item* for a :class:`QueueService`, waiting for room for *timeout* seconds.

        :raises ServiceQueueFullError: if there was no room in that time.
        :raises ServiceStoppedError: if the service does not run in this process.
        """
        within = seconds("timeout", timeout)
        if self._definition.maxsize is None:
            raise InvalidTaskError(
                f"The service {self.name!r}",
                "has no queue, so nothing can be put into it",
                "Derive its class from QueueService.",
            )
        with self._lock:
            inbox = self._current.inbox if self._current is not None else None
        if inbox is None:
            raise ServiceStoppedError(self.name)
        inbox.put(item, within)

    def close(self, deadline: float | None = None) -> None:
        """Stop the service for good, since the process stops; returns at once.

        *deadline*, in ``time.monotonic()``, tells how long it may go on with queued items.
        """
        with self._lock:
            self._closed = True
            current = self._halt("shutdown")
        if current is not None and deadline is not None:
            current.control.limit_drain(deadline)

    def join(self, deadline: float) -> bool:
        """Wait until ``time.monotonic()`` is *deadline*; return whether the service has ended."""
        with self._lock:
            current = self._current
        return current is None or current.join(deadline)

    def _begin(self) -> None:
        if self._closed:
            _logger.warning("service %r was not started: this process stops", self.name)
        elif self._current is None or self._current.ended:
            self._launch()
        elif self._current.control.stop_reason is not None:
            self._again = True

    def _launch(self) -> None:
        start = ServiceThread(self._definition, self._app, self._facts, self._clock)
        # Known before it runs: a signal of the server may raise here once its thread does. That
        # reports under our lock, so it cannot overtake the last line.
        before, self._current = self._current, start
        try:
            start.start(self._ended)
        except RuntimeError:
            self._current = before
            raise
        self._facts.begin_start(start.control)

    def _ended(self, start: ServiceThread[S_co]) -> None:
        with self._lock:
            start.ended = True
            start.instance = None
            self._facts.enter(ServiceStatus.STOPPED, start.control)
            if self._again:
                self._again = False
                self._launch()

    def _halt(self, reason: StopReason) -> ServiceThread[S_co] | None:
        self._again = False
        current = self._current
        if current is not None and not current.ended:
            current.control.stop(reason)
            self._facts.enter(ServiceStatus.STOPPING, current.control)
        return current

    def _wait_for_end(self, start: ServiceThread[S_co] | None, timeout: float) -> bool:
        if start is None:
            return True
        deadline = time.monotonic() + timeout
        start.control.limit_drain(deadline)
        ended = start.join(deadline)
        if not ended and not start.is_current():
            _logger.warning(
                "service %r did not end within %g s; it ends when its handle() returns",
                self.name,
                timeout,
            )
        return ended


class Services:
    """All services of an app in this process; a :class:`~flask_later.runtime.part.Part`.

    ``services[X]`` finds one by its class, its function or its name. Iterating gives the names.
    """

    def __init__(
        self, app: App, definitions: Iterable[ServiceDefinition[ServiceBase]], clock: Clock
    ) -> None:
        self._handles: dict[str, ServiceHandle[Any]] = {}
        self._targets: list[tuple[object, str]] = []
        for definition in definitions:
            self._handles[definition.name] = ServiceHandle(definition, app, clock)
            self._targets.append((definition.target, definition.name))

    @overload
    def __getitem__(self, key: type[S]) -> ServiceHandle[S]: ...
    @overload
    def __getitem__(self, key: str | Callable[..., object]) -> ServiceHandle[ServiceBase]: ...
    def __getitem__(self, key: object) -> ServiceHandle[Any]:
        """Return the handle of a service.

        :raises UnknownServiceError: if the app has no such service.
        """
        name = self._name_of(key)
        if name not in self._handles:
            raise UnknownServiceError(name, list(self._handles))
        return self._handles[name]

    def __contains__(self, key: object) -> bool:
        return self._name_of(key) in self._handles

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)

    def values(self) -> tuple[ServiceHandle[ServiceBase], ...]:
        """Return all handles, in the order of their registration."""
        return tuple(self._handles.values())

    def start(self) -> None:
        """Start all services; returns at once."""
        for handle in self._handles.values():
            try:
                handle.start()
            except RuntimeError:
                # The system has no thread left: the others may have got theirs.
                _logger.exception("service %r could not be started", handle.name)

    def stop(self) -> None:
        """Tell all services to end, for good; returns at once."""
        for handle in self._handles.values():
            handle.close()

    def join(self, deadline: float) -> None:
        """Wait until ``time.monotonic()`` is *deadline*; log the names of those that still run."""
        # All first, so that none drains its queue until the others have used up the time.
        for handle in self._handles.values():
            handle.close(deadline)
        left = [name for name, handle in self._handles.items() if not handle.join(deadline)]
        if left:
            _logger.error("services that did not end in time: %s", ", ".join(left))

    def _name_of(self, key: object) -> str:
        if isinstance(key, str):
            return key
        for target, name in self._targets:
            # Not `is`: a method that is looked up twice is two objects.
            if target == key:
                return name
        return getattr(key, "__name__", repr(key))
