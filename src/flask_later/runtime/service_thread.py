"""One start of a service: its thread, its instance and its runs.

A run is ``startup``, ``handle`` in a loop, ``shutdown``. A crash ends a run, never the thread: the
next run follows after a pause that grows from one second to a minute.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Generic, cast

from flask_later.core.clock import Clock
from flask_later.logs import Log
from flask_later.signals import send, service_failed

from .service import App, Binding, Control, Inbox, QueueService, Service
from .service_definitions import S_co, ServiceDefinition
from .threads import join_all, make_thread

#: The pause after the first crash in a row, and the longest; in seconds.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: A run that was well for so long begins a new row of crashes.
WELL_AFTER = 60.0
#: So many crashes in a row are shown as failing.
FAILING_AFTER = 5
#: So many calls of ``handle`` within a second are taken for a loop that forgot to wait.
HURRIED_CALLS = 5000
#: So many characters of an exception's text are kept.
LONGEST_TEXT = 1000


class ServiceStatus(StrEnum):
    """What a service does in this process."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    #: It crashed, and waits to start again.
    BACKING_OFF = "backing_off"
    #: The same, after five crashes in a row or more.
    FAILING = "failing"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """The facts about a service in this process, at one moment."""

    name: str
    status: ServiceStatus
    #: When the status began.
    since: datetime
    #: How many runs followed the first one, after crashes and starts by hand.
    restarts: int
    #: How many crashes came in a row, without a minute between them.
    failures: int
    #: The last exception as text, even if all is well since; None if there was none.
    last_error: str | None
    #: How many items wait in its queue; None for a service without one.
    waiting: int | None


class Facts:
    """What is known of a service, over all its starts. Its lock is also that of the handle."""

    def __init__(self, clock: Clock) -> None:
        self.lock = threading.RLock()
        self._clock = clock
        self.status = ServiceStatus.STOPPED
        self.since = clock.now()
        self.runs = 0
        self.failures = 0
        self.last_error: str | None = None
        self._well_from: float | None = None

    def enter(self, status: ServiceStatus, control: Control) -> None:
        """Note the status; one that should stop is stopping, whatever its thread still does."""
        with self.lock:
            if control.stop_reason is not None and status is not ServiceStatus.STOPPED:
                status = ServiceStatus.STOPPING
            self._well_from = (
                self._clock.monotonic() + WELL_AFTER if status is ServiceStatus.RUNNING else None
            )
            if status is not self.status:
                self.status = status
                self.since = self._clock.now()

    def begin_start(self, control: Control) -> None:
        with self.lock:
            self.failures = 0
            self.enter(ServiceStatus.STARTING, control)

    def begin_run(self, control: Control) -> None:
        with self.lock:
            self.runs += 1
            self.enter(ServiceStatus.STARTING, control)

    def failed(self, error: BaseException, control: Control) -> int:
        """Count a crash, and return how many there were in a row."""
        with self.lock:
            self.failures = self.failures_in_a_row() + 1
            self.note(error)
            failing = self.failures >= FAILING_AFTER
            self.enter(ServiceStatus.FAILING if failing else ServiceStatus.BACKING_OFF, control)
            return self.failures

    def note(self, error: BaseException) -> None:
        with self.lock:
            # Not str(error): that is the user's code, and may raise.
            text = "".join(traceback.format_exception_only(error)).strip()
            self.last_error = text[:LONGEST_TEXT]

    def failures_in_a_row(self) -> int:
        """Return the count of crashes, which a run that is well for a minute begins anew."""
        well = self._well_from is not None and self._clock.monotonic() >= self._well_from
        return 0 if well else self.failures

    def snapshot(self, name: str, waiting: int | None) -> ServiceInfo:
        with self.lock:
            return ServiceInfo(
                name=name,
                status=self.status,
                since=self.since,
                restarts=max(0, self.runs - 1),
                failures=self.failures_in_a_row(),
                last_error=self.last_error,
                waiting=waiting,
            )


class ServiceThread(Generic[S_co]):
    """One start of a service. It ends only when its control tells it to."""

    def __init__(
        self,
        definition: ServiceDefinition[S_co],
        app: App,
        facts: Facts,
        clock: Clock,
    ) -> None:
        self._definition = definition
        self._app = app
        self._facts = facts
        self._clock = clock
        self._logger = Log(f"flask_later.services.{definition.name}")
        self.control = Control(clock)
        self.inbox: Inbox[Any] | None = None
        if definition.maxsize is not None:
            self.inbox = Inbox(definition.name, definition.maxsize, self.control)
        self.instance: S_co | None = None
        #: Set by the handle, under its lock, when all is done; the thread itself ends right after.
        self.ended = False
        self.thread: threading.Thread | None = None
        self._started_up = False
        self._not_before = clock.monotonic()
        self._undrained: float = float("inf")
        self._calls = 0
        self._counted_from = clock.monotonic()

    def start(self, ended: Callable[[ServiceThread[S_co]], None]) -> None:
        """Start the thread; it calls *ended* as its last act."""

        def run() -> None:
            try:
                self._run_until_stopped()
                self._drop_items()
            finally:
                ended(self)

        self.thread = make_thread(f"later-service-{self._definition.name}", run)
        self.thread.start()

    def is_current(self) -> bool:
        """Whether the service itself asks: it cannot wait for its own end."""
        return self.thread is threading.current_thread()

    def join(self, deadline: float) -> bool:
        """Wait until ``time.monotonic()`` is *deadline*; return whether the thread has ended.

        If not, its queue is given up: the process may end before the thread could say so.
        """
        if self.is_current():
            return False
        if self.thread is None or not join_all([self.thread], deadline):
            return True
        self._drop_items()
        return False

    def _drop_items(self) -> None:
        """Give up what still waits in the queue, and say how much that was."""
        dropped = self.inbox.drop() if self.inbox is not None else 0
        if dropped:
            self._logger.warning(
                "service %r stopped; items lost with its queue: %d",
                self._definition.name,
                dropped,
            )

    def _run_until_stopped(self) -> None:
        while True:
            try:
                if not self._wait_for_next_run():
                    return
                self._run()
            except BaseException:
                # Not from the hooks: something hit the thread between them (a late gevent.Timeout),
                # or a receiver interrupted the report. The pause was set before, so no busy loop.
                self._logger.exception("service %r was disturbed", self._definition.name)

    def _wait_for_next_run(self) -> bool:
        """Wait out the pause after a crash. False when there is nothing left to run for."""
        pause = self._not_before - self._clock.monotonic()
        if not self.control.wait(pause):
            return True
        # Stopped, perhaps while it waited to start again: the queued items get another run, as
        # long as each run leaves fewer of them.
        items = self.inbox.takeable() if self.inbox is not None else 0
        fewer = 0 < items < self._undrained
        self._undrained = items
        return fewer

    def _run(self) -> None:
        self._started_up = False
        crashed = True
        try:
            self._start_up()
            self._handle_until_stopped()
            crashed = False
        except BaseException as error:
            self._report(error)
        finally:
            if self._started_up:
                self._shut_down(crashed)

    def _start_up(self) -> None:
        self._facts.begin_run(self.control)
        with self._app.app_context():
            if self.instance is None:
                self.instance = self._make()
            self.instance.startup()
            # Here and not below: what the teardown of the context raises does not undo it.
            self._started_up = True

    def _make(self) -> S_co:
        instance = self._definition.make()
        name = self._definition.name
        binding = Binding(name, self._app, self._logger.logger, self.control, self.inbox)
        instance.bind_to_app(binding)
        return instance

    def _handle_until_stopped(self) -> None:
        self._facts.enter(ServiceStatus.RUNNING, self.control)
        while (call := self._next_call()) is not None:
            with self._app.app_context():
                call()
            self.control.wait(self._definition.every)
            self._watch_pace()

    def _watch_pace(self) -> None:
        """Warn, once, of a loop that never waits: it takes the processor from the requests."""
        self._calls += 1
        if self._calls != HURRIED_CALLS or self.inbox is not None:
            return
        now = self._clock.monotonic()
        if now - self._counted_from >= 1.0:
            self._calls, self._counted_from = 0, now
            return
        self._logger.warning(
            "service %r: handle() returned %d times within a second and never waited; pause with "
            "self.wait(seconds), or register the service with every=seconds",
            self._definition.name,
            HURRIED_CALLS,
        )

    def _next_call(self) -> Callable[[], object] | None:
        """Wait for work outside of any app context; None when the service should end."""
        if self.inbox is None:
            return None if self.control.stop_reason else cast("Service", self.instance).handle
        taken = self.inbox.take()
        return partial(cast("QueueService[Any]", self.instance).handle, *taken) if taken else None

    def _shut_down(self, crashed: bool) -> None:
        assert self.instance is not None
        try:
            with self._app.app_context():
                self.instance.shutdown()
        except BaseException as error:
            # After a crash mostly its consequence: what it is about stays to be seen.
            if not crashed:
                self._facts.note(error)
            self._logger.exception("service %r raised in shutdown()", self._definition.name)

    def _report(self, error: BaseException) -> None:
        failures = self._facts.failed(error, self.control)
        retry_in = None if self.control.stop_reason else pause_after(failures)
        # First of all, so that the next run waits even if the report fails.
        self._not_before = self._clock.monotonic() + (retry_in or 0.0)
        name = self._definition.name
        if retry_in is None:
            self._logger.error("service %r raised while it stops", name, exc_info=error)
        else:
            self._logger.error(
                "service %r raised (%d in a row) and starts again in %.1f s",
                name,
                failures,
                retry_in,
                exc_info=error,
            )
        send(service_failed, self._app, service=name, exception=error, retry_in=retry_in)


def pause_after(failures: int) -> float:
    """Return how long to wait after so many crashes in a row; never twice the same."""
    # The exponent is bounded because a float overflows at 2 ** 1024.
    pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))
    # Jitter, so that services which fell together do not come back together.
    return pause * random.uniform(0.75, 1.0)
