"""What others do with the services of a process: look up, start, stop, restart, end them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import pytest
from flask import Flask

from flask_later.core.clock import Clock, SystemClock, VirtualClock
from flask_later.errors import UnknownServiceError
from flask_later.runtime.service import Service
from flask_later.runtime.service_definitions import ServiceDefinitions
from flask_later.runtime.service_thread import ServiceStatus
from flask_later.runtime.services import ServiceHandle, Services
from flask_later.runtime.threads import start_thread

#: No test waits so long, unless it fails.
LIMIT = 10.0

Make = Callable[..., Services]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a function that makes the services of an app, which are stopped after the test."""
    made: list[Services] = []

    def make(*targets: Any, clock: Clock | None = None) -> Services:
        definitions = ServiceDefinitions()
        for target in targets:
            definitions.register(target)
        made.append(Services(Flask("shop"), definitions, clock or VirtualClock()))
        return made[-1]

    yield make
    for services in made:
        services.stop()
        services.join(time.monotonic() + LIMIT)
        assert {handle.status for handle in services.values()} <= {ServiceStatus.STOPPED}


class Busy(Service):
    """Ignores the stop until the test lets it go, and counts how often it runs at a time."""

    started: Queue[int]
    go_on: threading.Event
    shut_down: list[int]
    alive = 0

    def startup(self) -> None:
        type(self).alive += 1

    def handle(self) -> None:
        self.started.put(self.alive)
        self.go_on.wait(LIMIT)
        self.wait(3600)

    def shutdown(self) -> None:
        type(self).alive -= 1
        self.shut_down.append(1)


@pytest.fixture
def busy() -> Iterator[type[Busy]]:
    class BusyHere(Busy):
        started: Queue[int] = Queue()
        go_on = threading.Event()
        shut_down: list[int] = []  # noqa: RUF012

    yield BusyHere
    BusyHere.go_on.set()


class Idle(Service):
    """Waits to be stopped."""

    def handle(self) -> None:
        self.wait(3600)


def test_a_service_is_found_by_class_function_and_name(make: Make) -> None:
    """All three give the same handle."""

    def drain() -> None: ...

    services = make(Idle, drain)
    assert services[Idle] is services["Idle"]
    assert services[drain] is services["drain"]
    assert services[Idle].name == "Idle"


def test_services_are_listed_in_the_order_of_registration(make: Make) -> None:
    """Iterating gives names, values() gives handles."""

    def drain() -> None: ...

    services = make(Idle, drain)
    assert list(services) == ["Idle", "drain"]
    assert [handle.name for handle in services.values()] == ["Idle", "drain"]
    assert len(services) == 2
    assert drain in services
    assert Busy not in services


def test_an_unknown_service_is_an_error_that_names_the_known(make: Make) -> None:
    """A name nearly right, a class and a function all say what there is."""
    services = make(Idle)
    with pytest.raises(UnknownServiceError, match="Closest: 'Idle'"):
        services["Idel"]
    with pytest.raises(UnknownServiceError, match="no service 'Busy'"):
        services[Busy]
    with pytest.raises(UnknownServiceError, match="no service 'make'"):
        services[make]


def test_starting_a_started_one_does_nothing(make: Make, busy: type[Busy]) -> None:
    """The same thread and instance go on."""
    handle = make(busy)[busy]
    handle.start()
    busy.started.get(timeout=LIMIT)
    before = handle.service
    handle.start()
    assert handle.service is before
    assert handle.info.restarts == 0


def test_stopping_a_stopped_one_does_nothing(make: Make) -> None:
    """It has ended, so the answer is yes, at once."""
    handle = make(Idle)[Idle]
    assert handle.stop(LIMIT)
    assert handle.status is ServiceStatus.STOPPED


def test_a_stopped_one_starts_again_with_a_new_instance(make: Make, busy: type[Busy]) -> None:
    """One instance for each start."""
    busy.go_on.set()
    handle = make(busy)[busy]
    instances: list[Busy | None] = []
    for _ in range(2):
        handle.start()
        busy.started.get(timeout=LIMIT)
        instances.append(handle.service)
        assert handle.stop(LIMIT)
        assert handle.service is None
    assert None not in instances
    assert instances[0] is not instances[1]


def test_a_restart_is_a_stop_and_a_start(make: Make, busy: type[Busy]) -> None:
    """It waits for the end, shutdown included, and counts as a restart."""
    busy.go_on.set()
    handle = make(busy)[busy]
    handle.start()
    busy.started.get(timeout=LIMIT)
    assert handle.restart(LIMIT)
    assert busy.shut_down == [1]
    busy.started.get(timeout=LIMIT)
    assert handle.info.restarts == 1


def test_a_restart_starts_a_stopped_one(make: Make, busy: type[Busy]) -> None:
    """There is nothing to wait for."""
    handle = make(busy)[busy]
    assert handle.restart(LIMIT)
    assert busy.started.get(timeout=LIMIT) == 1


def test_a_busy_service_is_left_alone_at_the_timeout(
    make: Make, busy: type[Busy], caplog: pytest.LogCaptureFixture
) -> None:
    """stop() answers no and says who it was; the service is stopping until it returns."""
    handle = make(busy)[busy]
    handle.start()
    busy.started.get(timeout=LIMIT)
    assert not handle.stop(0)
    assert "'BusyHere' did not end within 0 s" in caplog.text
    assert handle.status is ServiceStatus.STOPPING


def test_the_first_reason_to_stop_stays(make: Make, busy: type[Busy]) -> None:
    """A service that was stopped by hand is not told another reason when the process ends."""
    services = make(busy)
    services.start()
    busy.started.get(timeout=LIMIT)
    services[busy].stop(0)
    services.stop()
    service = services[busy].service
    assert service is not None
    assert service.stop_reason == "stop"


def test_a_second_stop_does_not_change_since(make: Make, busy: type[Busy]) -> None:
    """The status tells how long the service has ignored the stop."""
    clock = VirtualClock()
    handle = make(busy, clock=clock)[busy]
    handle.start()
    busy.started.get(timeout=LIMIT)
    clock.advance(5)
    stopped_at = clock.now()
    handle.stop(0)
    clock.advance(5)
    handle.stop(0)
    assert handle.info.since == stopped_at


def test_a_stop_during_startup_comes_to_shutdown_without_a_handle(make: Make) -> None:
    """A startup that was begun is finished, and undone."""
    hooks: Queue[str] = Queue()
    go_on = threading.Event()

    class Slow(Service):
        def startup(self) -> None:
            hooks.put("startup")
            go_on.wait(LIMIT)

        def handle(self) -> None:
            hooks.put("handle")

        def shutdown(self) -> None:
            hooks.put(f"shutdown while {services[Slow].status}")

    services = make(Slow)
    services.start()
    assert hooks.get(timeout=LIMIT) == "startup"
    assert not services[Slow].stop(0)
    go_on.set()
    assert hooks.get(timeout=LIMIT) == "shutdown while stopping"
    assert services[Slow].stop(LIMIT)
    assert hooks.empty()


def test_a_start_waits_for_the_end_of_the_one_before(make: Make, busy: type[Busy]) -> None:
    """A service that is still stopping starts again once it has ended, never beside itself."""
    handle = make(busy)[busy]
    handle.start()
    busy.started.get(timeout=LIMIT)
    assert not handle.stop(0)
    handle.start()
    assert handle.status is ServiceStatus.STOPPING
    busy.go_on.set()
    assert busy.started.get(timeout=LIMIT) == 1


def test_a_stop_takes_back_a_start_that_waits(make: Make, busy: type[Busy]) -> None:
    """Whoever asks last decides."""
    handle = make(busy)[busy]
    handle.start()
    busy.started.get(timeout=LIMIT)
    handle.stop(0)
    handle.start()
    handle.stop(0)
    busy.go_on.set()
    assert handle.stop(LIMIT)
    assert handle.status is ServiceStatus.STOPPED
    assert busy.started.empty()


def test_a_service_may_stop_itself(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It does not wait for its own end, and nothing is reported."""
    answers: Queue[bool] = Queue()

    def once() -> None:
        answers.put(services[once].stop(LIMIT))

    services = make(once)
    services.start()
    assert answers.get(timeout=LIMIT) is False
    assert services[once].join(time.monotonic() + LIMIT)
    assert services[once].status is ServiceStatus.STOPPED
    assert not caplog.records


def test_a_service_may_restart_itself(make: Make) -> None:
    """The next start follows when its handle has returned."""
    instances: Queue[int] = Queue()

    class Phoenix(Service):
        def startup(self) -> None:
            instances.put(id(self))

        def handle(self) -> None:
            if instances.qsize() < 2:
                services[Phoenix].restart(LIMIT)
            self.wait(3600)

    services = make(Phoenix)
    services.start()
    assert instances.get(timeout=LIMIT)
    assert instances.get(timeout=LIMIT)


def test_stop_and_join_end_all_services(make: Make, busy: type[Busy]) -> None:
    """The two halves of a process's end."""
    busy.go_on.set()
    services = make(Idle, busy)
    services.start()
    services.stop()
    services.join(time.monotonic() + LIMIT)
    assert [handle.status for handle in services.values()] == ["stopped", "stopped"]


def test_join_names_those_that_did_not_end(
    make: Make, busy: type[Busy], caplog: pytest.LogCaptureFixture
) -> None:
    """At the deadline it returns, whatever the services do."""
    services = make(Idle, busy)
    services.start()
    busy.started.get(timeout=LIMIT)
    services[Idle].stop(LIMIT)
    services.stop()
    services.join(time.monotonic())
    assert "services that did not end in time: BusyHere" in caplog.messages


def test_nothing_starts_after_the_end(make: Make, busy: type[Busy]) -> None:
    """A start, or a restart, that comes while the process stops is refused with a warning."""
    services = make(busy)
    services.stop()
    services[busy].start()
    services[busy].restart(LIMIT)
    assert services[busy].status is ServiceStatus.STOPPED
    assert busy.started.empty()


def test_a_wait_ends_at_once_when_the_service_is_stopped(make: Make) -> None:
    """On the real clock: a pause of an hour does not delay the end."""
    waits: Queue[bool] = Queue()

    def sleeper(service: Service) -> None:
        waits.put(service.stopping)
        waits.put(service.wait(3600))

    services = make(sleeper, clock=SystemClock())
    services.start()
    assert waits.get(timeout=LIMIT) is False
    assert services[sleeper].stop(LIMIT)
    assert waits.get(timeout=LIMIT) is True


@pytest.mark.parametrize("clock", [SystemClock(), VirtualClock()], ids=["system", "virtual"])
def test_start_and_stop_in_a_hurry(make: Make, clock: Clock) -> None:
    """Fifty starts and stops, with no time in between, leave no thread and no unpaired hook."""
    hooks: list[str] = []

    class Paired(Service):
        def startup(self) -> None:
            hooks.append("startup")

        def handle(self) -> None:
            self.wait(3600)

        def shutdown(self) -> None:
            hooks.append("shutdown")

    handle = make(Paired, clock=clock)[Paired]
    for _ in range(50):
        handle.start()
        assert handle.stop(LIMIT)
    assert hooks == ["startup", "shutdown"] * (len(hooks) // 2)


def test_commands_from_many_threads_never_run_a_service_twice(make: Make) -> None:
    """Ten threads that start, stop and restart at random leave it in one piece."""
    alive: list[int] = []
    together: list[int] = []

    class Alone(Service):
        def startup(self) -> None:
            alive.append(1)
            together.append(len(alive))

        def handle(self) -> None:
            self.wait(3600)

        def shutdown(self) -> None:
            alive.pop()

    handle = make(Alone, clock=SystemClock())[Alone]
    threads = [start_thread(f"command-{n}", commands(handle, n)) for n in range(10)]
    for thread in threads:
        thread.join(LIMIT)
    assert not any(thread.is_alive() for thread in threads)
    assert set(together) == {1}
    assert handle.stop(LIMIT)
    assert not alive


def commands(handle: ServiceHandle[Service], number: int) -> Callable[[], None]:
    """Return what one thread asks of the service, in an order of its own."""

    def run() -> None:
        for step in range(50):
            match (number + step * 7) % 3:
                case 0:
                    handle.start()
                case 1:
                    handle.stop(LIMIT)
                case _:
                    handle.restart(LIMIT)

    return run
