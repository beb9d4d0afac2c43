"""The runs of a service: started, crashed, stopped, in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any, NamedTuple

import pytest
from flask import Flask, current_app, g

from flask_later.core.clock import VirtualClock
from flask_later.errors import UsageError
from flask_later.runtime.service import Service
from flask_later.runtime.service_definitions import ServiceDefinitions
from flask_later.runtime.service_thread import HURRIED_CALLS, ServiceStatus, pause_after
from flask_later.runtime.services import Services
from flask_later.signals import service_failed

#: No test waits so long, unless it fails.
LIMIT = 10.0


class Failure(NamedTuple):
    """What the signal said."""

    service: str
    exception: BaseException
    retry_in: float | None


class Kit:
    """An app, a clock that stands still, and what the services of a test report."""

    def __init__(self) -> None:
        self.app = Flask("shop")
        self.clock = VirtualClock()
        self.definitions = ServiceDefinitions()
        self.made: list[Services] = []
        self.failures: Queue[Failure] = Queue()
        self.events: Queue[str] = Queue()

    def services(self, *targets: Any, clock: Any = None) -> Services:
        """Register *targets*, and return their app's services, not started."""
        for target in targets:
            self.definitions.register(target)
        services = Services(self.app, self.definitions, clock or self.clock)
        self.made.append(services)
        return services

    def started(self, *targets: Any) -> Services:
        services = self.services(*targets)
        services.start()
        return services

    def on_failure(self, app: object, **facts: Any) -> None:
        self.failures.put(Failure(facts["service"], facts["exception"], facts["retry_in"]))

    def failure(self) -> Failure:
        return self.failures.get(timeout=LIMIT)

    def event(self) -> str:
        return self.events.get(timeout=LIMIT)

    def advance_to(self, queue: Queue[Any]) -> None:
        """Move the time on, second by second, until something is in *queue*.

        Not in one step: a service that is just about to wait would count from its end.
        """
        while queue.empty():
            self.clock.advance(1)

    def seen(self, count: int) -> list[str]:
        return [self.event() for _ in range(count)]


@pytest.fixture
def kit() -> Iterator[Kit]:
    kit = Kit()
    service_failed.connect(kit.on_failure, sender=kit.app)
    yield kit
    for services in kit.made:
        services.stop()
    for services in kit.made:
        services.join(time.monotonic() + LIMIT)
        assert {handle.status for handle in services.values()} <= {ServiceStatus.STOPPED}


def recorder(kit: Kit) -> type[Service]:
    """Return a service that tells its hooks, and waits in ``handle`` until it is stopped."""

    class Recorder(Service):
        def startup(self) -> None:
            kit.events.put("startup")

        def handle(self) -> None:
            kit.events.put("handle")
            self.wait(3600)

        def shutdown(self) -> None:
            kit.events.put("shutdown")

    return Recorder


def crasher(kit: Kit, error: Callable[[], BaseException], times: int = 1000) -> type[Service]:
    """Return a service whose ``handle`` raises the first *times* it is called."""

    class Crasher(Service):
        calls = 0

        def startup(self) -> None:
            kit.events.put("startup")

        def handle(self) -> None:
            self.calls += 1
            if self.calls <= times:
                raise error()
            kit.events.put("handle")
            self.wait(3600)

        def shutdown(self) -> None:
            kit.events.put("shutdown")

    return Crasher


def rejecter(kit: Kit, times: int) -> type[Service]:
    """Return a service whose ``startup`` raises the first *times* it is called."""

    class Rejecter(recorder(kit)):  # type: ignore[misc]
        calls = 0

        def startup(self) -> None:
            self.calls += 1
            if self.calls <= times:
                raise ConnectionError("refused")
            kit.events.put("startup")

    return Rejecter


def test_a_run_is_startup_handle_and_shutdown(kit: Kit) -> None:
    """The hooks run in their order, and a stop ends the run."""
    service = recorder(kit)
    services = kit.started(service)
    assert kit.seen(2) == ["startup", "handle"]
    assert services[service].stop(LIMIT)
    assert kit.event() == "shutdown"
    assert kit.events.empty()


def test_nothing_runs_before_start(kit: Kit) -> None:
    """Making the services starts no thread."""
    service = recorder(kit)
    handle = kit.services(service)[service]
    assert handle.status is ServiceStatus.STOPPED
    assert handle.service is None


def test_handle_is_called_again_and_again(kit: Kit) -> None:
    """A handle that returns is called again in the same run."""

    def count(service: Service) -> None:
        kit.events.put("handle")
        service.wait(1)

    kit.started(count)
    assert kit.event() == "handle"
    kit.advance_to(kit.events)
    assert kit.event() == "handle"


def test_every_is_the_pause_between_two_calls(kit: Kit) -> None:
    """With ``every`` the next call waits for the clock, not for the service."""

    def poll() -> None:
        kit.events.put(f"{kit.clock.monotonic():g}")

    kit.definitions.register(poll, every=5)
    kit.started()
    first = float(kit.event())
    kit.advance_to(kit.events)
    assert float(kit.event()) >= first + 5


def test_every_hook_has_an_app_context_of_its_own(kit: Kit) -> None:
    """What a hook leaves in ``g`` is gone in the next, so sessions of Flask-SQLAlchemy are too."""
    pauses = [3600, 1]

    class Contexts(Service):
        def note(self, hook: str) -> None:
            kit.events.put(f"{hook} {current_app.name} {'mark' in g}")
            g.mark = True

        def startup(self) -> None:
            self.note("startup")

        def handle(self) -> None:
            self.note("handle")
            self.wait(pauses.pop())

        def shutdown(self) -> None:
            self.note("shutdown")

    services = kit.started(Contexts)
    assert kit.seen(2) == ["startup shop False", "handle shop False"]
    kit.advance_to(kit.events)
    assert kit.event() == "handle shop False"
    services[Contexts].stop(LIMIT)
    assert kit.event() == "shutdown shop False"


def test_an_instance_knows_its_name_app_and_logger(kit: Kit) -> None:
    """All three are there from startup on."""

    class Aware(Service):
        def startup(self) -> None:
            kit.events.put(f"{self.name} {self.app.name} {self.logger.name}")

        def handle(self) -> None:
            self.wait(3600)

    kit.started(Aware)
    assert kit.event() == "Aware shop flask_later.services.Aware"


def test_an_instance_of_ones_own_says_that_it_was_not_started() -> None:
    """Asking an unstarted instance for its app tells where the running one is."""

    class Alone(Service):
        def handle(self) -> None: ...

    with pytest.raises(UsageError, match=r"later\.services\[Alone\]\.service"):
        Alone().wait(1)


def test_a_function_may_take_the_service(kit: Kit) -> None:
    """A plain function with one argument gets the service, to wait and to see the stop."""

    def drain(service: Service) -> None:
        kit.events.put(f"{service.name} {service.stopping}")
        service.wait(3600)
        kit.events.put(f"{service.stop_reason} {service.stopping}")

    services = kit.started(drain)
    assert kit.event() == "drain False"
    services[drain].stop(LIMIT)
    assert kit.event() == "stop True"


def test_the_end_of_the_process_is_a_reason(kit: Kit) -> None:
    """A service that is stopped with its process can tell that from a stop by hand."""

    def drain(service: Service) -> None:
        kit.events.put("handle")
        service.wait(3600)
        kit.events.put(str(service.stop_reason))

    services = kit.started(drain)
    kit.event()
    services.stop()
    assert kit.event() == "shutdown"


def test_the_status_follows_a_run(kit: Kit) -> None:
    """Starting, running, stopping and stopped are each seen from inside their hook."""

    class Watched(Service):
        def startup(self) -> None:
            kit.events.put(services[Watched].status)

        def handle(self) -> None:
            kit.events.put(services[Watched].status)
            self.wait(3600)

        def shutdown(self) -> None:
            kit.events.put(services[Watched].status)

    services = kit.started(Watched)
    assert kit.seen(2) == ["starting", "running"]
    services[Watched].stop(LIMIT)
    assert kit.event() == "stopping"
    assert services[Watched].status is ServiceStatus.STOPPED


def test_a_crash_is_followed_by_shutdown_and_another_run(kit: Kit) -> None:
    """After the pause a service that raised starts up again, with the same instance."""
    services = kit.started(service := crasher(kit, lambda: ValueError("boom"), times=1))
    failure = kit.failure()
    assert kit.seen(2) == ["startup", "shutdown"]
    before = services[service].service
    kit.clock.advance(failure.retry_in or 0)
    assert kit.seen(2) == ["startup", "handle"]
    assert services[service].service is before


def test_a_crash_is_told_by_the_signal(kit: Kit) -> None:
    """The signal carries the service's name, the exception and the pause."""
    kit.started(crasher(kit, lambda: ValueError("boom")))
    failure = kit.failure()
    assert failure.service == "Crasher"
    assert isinstance(failure.exception, ValueError)
    assert failure.retry_in is not None
    assert 0.75 <= failure.retry_in <= 1


def test_a_crash_is_logged_with_the_name(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the service and has the traceback."""
    kit.started(crasher(kit, lambda: ValueError("boom")))
    kit.failure()
    (record,) = caplog.records
    assert record.name == "flask_later.services.Crasher"
    assert "'Crasher' raised" in record.message
    assert record.exc_info is not None


def test_a_crash_shows_in_the_facts(kit: Kit) -> None:
    """While it waits to start again, the handle tells what happened."""
    services = kit.started(service := crasher(kit, lambda: ValueError("boom")))
    kit.failure()
    info = services[service].info
    assert info.status is ServiceStatus.BACKING_OFF
    assert (info.failures, info.restarts, info.last_error) == (1, 0, "ValueError: boom")
    assert info.since == kit.clock.now()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_no_exception_ends_the_thread(kit: Kit, error: type[BaseException]) -> None:
    """Even what is not an Exception is a crash like any other."""
    kit.started(crasher(kit, error, times=1))
    kit.clock.advance(kit.failure().retry_in or 0)
    assert kit.seen(4) == ["startup", "shutdown", "startup", "handle"]


def test_an_exception_that_cannot_be_shown_is_a_crash_too(kit: Kit) -> None:
    """An exception whose text raises does not harm the runner."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    kit.started(crasher(kit, MuteError, times=1))
    kit.clock.advance(kit.failure().retry_in or 0)
    assert kit.seen(4) == ["startup", "shutdown", "startup", "handle"]


def test_a_receiver_that_raises_does_not_end_the_thread(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    """Even an interrupt in a signal's receiver leaves the service to its next run."""

    def interrupt(app: object, **facts: Any) -> None:
        raise KeyboardInterrupt

    with service_failed.connected_to(interrupt, sender=kit.app):
        kit.started(crasher(kit, ValueError, times=1))
        assert kit.seen(2) == ["startup", "shutdown"]
        kit.advance_to(kit.events)
    assert kit.seen(2) == ["startup", "handle"]


def test_the_pause_doubles_up_to_a_minute(kit: Kit) -> None:
    """Crash after crash the pause grows, with jitter, and no further than a minute."""
    kit.started(crasher(kit, ValueError))
    pauses = []
    for _ in range(9):
        pauses.append(kit.failure().retry_in or 0)
        kit.clock.advance(pauses[-1])
    for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.75 * longest <= pause <= longest


def test_five_crashes_in_a_row_are_failing(kit: Kit) -> None:
    """The status says so, and the service goes on trying."""
    services = kit.started(service := crasher(kit, ValueError, times=5))
    statuses = []
    for _ in range(5):
        pause = kit.failure().retry_in or 0
        statuses.append(services[service].status)
        kit.clock.advance(pause)
    assert statuses == [ServiceStatus.BACKING_OFF] * 4 + [ServiceStatus.FAILING]
    assert kit.seen(12)[-2:] == ["startup", "handle"]
    assert services[service].info.restarts == 5


def test_a_minute_without_a_crash_begins_a_new_row(kit: Kit) -> None:
    """After a run that was well for a minute the pause is short again."""

    class Moody(Service):
        calls = 0

        def handle(self) -> None:
            self.calls += 1
            if self.calls >= 4:
                kit.events.put("well")
                self.wait(60 if self.calls == 4 else 3600)
            raise ValueError

    services = kit.started(Moody)
    for _ in range(3):
        kit.clock.advance(kit.failure().retry_in or 0)
    kit.event()
    assert services[Moody].info.failures == 3
    kit.advance_to(kit.failures)
    assert (kit.failure().retry_in or 0) <= 1
    assert services[Moody].info.failures == 1


def test_after_a_failed_startup_there_is_no_shutdown(kit: Kit) -> None:
    """Startup is tried again, and shutdown belongs to the one that succeeded."""
    services = kit.started(service := rejecter(kit, times=2))
    for _ in range(2):
        kit.clock.advance(kit.failure().retry_in or 0)
    assert kit.seen(2) == ["startup", "handle"]
    services[service].stop(LIMIT)
    assert kit.event() == "shutdown"
    assert kit.events.empty()


def test_a_startup_that_fails_after_a_crash_has_no_shutdown_either(kit: Kit) -> None:
    """The shutdown of the run before is not repeated."""

    class Lost(crasher(kit, ValueError)):  # type: ignore[misc]
        def startup(self) -> None:
            if self.calls:
                raise ConnectionError("refused")
            kit.events.put("startup")

    kit.started(Lost)
    for _ in range(3):
        kit.clock.advance(kit.failure().retry_in or 0)
    kit.made[0]["Lost"].stop(LIMIT)
    assert list(kit.events.queue) == ["startup", "shutdown"]


def test_a_start_by_hand_begins_a_new_row(kit: Kit) -> None:
    """Who starts a service has perhaps repaired it, so the first pause is short again."""
    handle = kit.started(service := crasher(kit, ValueError))[service]
    for _ in range(3):
        kit.clock.advance(kit.failure().retry_in or 0)
    assert (kit.failure().retry_in or 0) > 2
    handle.restart(LIMIT)
    assert (kit.failure().retry_in or 0) <= 1


def test_a_long_error_is_cut(kit: Kit) -> None:
    """What is kept of an exception is bounded."""
    services = kit.started(service := crasher(kit, lambda: ValueError("x" * 10_000)))
    kit.failure()
    assert len(services[service].info.last_error or "") == 1000


def test_what_crashed_is_told_even_if_the_shutdown_fails_as_well(kit: Kit) -> None:
    """The second error is mostly the consequence of the first."""

    class Torn(Service):
        def handle(self) -> None:
            raise ValueError("the cause")

        def shutdown(self) -> None:
            kit.events.put("shutdown")
            raise KeyError("the consequence")

    services = kit.started(Torn)
    assert kit.event() == "shutdown"
    assert services[Torn].stop(LIMIT)
    assert services[Torn].info.last_error == "ValueError: the cause"


def test_pauses_have_jitter() -> None:
    """Services that fell together do not come back together."""
    assert len({pause_after(3) for _ in range(20)}) > 1


def test_a_constructor_that_raises_is_tried_again(kit: Kit) -> None:
    """It counts as a failed startup."""
    attempts: list[int] = []

    class Fragile(recorder(kit)):  # type: ignore[misc]
        def __init__(self) -> None:
            attempts.append(1)
            if len(attempts) == 1:
                raise ConnectionError

    kit.started(Fragile)
    kit.clock.advance(kit.failure().retry_in or 0)
    assert kit.seen(2) == ["startup", "handle"]


def test_a_teardown_that_raises_does_not_undo_startup(kit: Kit) -> None:
    """Shutdown follows even when the app context of a good startup fails to close."""
    failing = [True]

    @kit.app.teardown_appcontext
    def teardown(_: object) -> None:
        if failing:
            failing.clear()
            raise OSError("disk full")

    kit.started(recorder(kit))
    assert isinstance(kit.failure().exception, OSError)
    assert kit.seen(2) == ["startup", "shutdown"]


def test_an_error_in_shutdown_is_logged(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    """It is named, and the service ends all the same."""

    class Rude(recorder(kit)):  # type: ignore[misc]
        def shutdown(self) -> None:
            raise SystemExit(3)

    services = kit.started(Rude)
    kit.seen(2)
    assert services[Rude].stop(LIMIT)
    assert [record.message for record in caplog.records] == ["service 'Rude' raised in shutdown()"]
    assert services[Rude].info.last_error == "SystemExit: 3"


def test_a_stop_ends_the_pause_after_a_crash(kit: Kit) -> None:
    """A service that waits to start again ends at once, without another run."""
    services = kit.started(service := crasher(kit, ValueError))
    kit.failure()
    assert services[service].stop(LIMIT)
    assert kit.seen(2) == ["startup", "shutdown"]
    assert kit.events.empty()


def test_a_crash_while_it_stops_is_not_retried(kit: Kit) -> None:
    """The signal says so: there is no pause."""

    def stubborn(service: Service) -> None:
        kit.events.put("handle")
        service.wait(3600)
        raise ValueError("too late")

    services = kit.started(stubborn)
    kit.event()
    assert services[stubborn].stop(LIMIT)
    assert kit.failure().retry_in is None


def test_one_service_does_not_harm_another(kit: Kit) -> None:
    """While one crashes, the other runs."""
    kit.started(crasher(kit, SystemExit), healthy := recorder(kit))
    kit.failure()
    assert kit.made[0][healthy].name == "Recorder"
    while kit.event() != "handle":
        pass


def test_a_handle_that_never_waits_is_warned_of_once(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that was meant to run once would take the processor from the requests."""
    calls: list[None] = []

    def spin() -> None:
        calls.append(None)
        if len(calls) == 3 * HURRIED_CALLS:
            kit.events.put("enough")

    kit.started(spin)
    kit.event()
    assert [record.message[:30] for record in caplog.records] == ["service 'spin': handle() retur"]
