"""Services with a bounded queue in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from queue import Full, Queue
from typing import Any, cast

import pytest
from flask import Flask

from flask_later.core.clock import SystemClock, VirtualClock
from flask_later.errors import InvalidTaskError, ServiceQueueFullError, ServiceStoppedError
from flask_later.runtime.service import QueueService, Service
from flask_later.runtime.service_definitions import ServiceDefinitions
from flask_later.runtime.service_thread import ServiceStatus
from flask_later.runtime.services import Services
from flask_later.runtime.threads import start_thread
from flask_later.signals import service_failed

#: No test waits so long, unless it fails.
LIMIT = 10.0

Make = Callable[..., Services]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def make(clock: VirtualClock) -> Iterator[Make]:
    """Return a function that makes an app's services, which are stopped after the test."""
    made: list[Services] = []

    def make(*targets: Any, app: Flask | None = None, real: bool = False) -> Services:
        definitions = ServiceDefinitions()
        for target in targets:
            definitions.register(target)
        app = app or Flask("shop")
        made.append(Services(app, definitions, SystemClock() if real else clock))
        return made[-1]

    yield make
    for services in made:
        services.stop()
        services.join(time.monotonic() + LIMIT)
        assert {handle.status for handle in services.values()} <= {ServiceStatus.STOPPED}


class Mailer(QueueService[int]):
    """Tells what it handles; ``gate`` holds it back, and ``bad`` items raise."""

    maxsize = 3
    handled: Queue[int]
    gate: threading.Event
    bad: frozenset[int] = frozenset()

    def handle(self, item: int) -> None:
        self.handled.put(item)
        assert self.gate.wait(LIMIT)
        if item in self.bad:
            raise ValueError(item)

    def shutdown(self) -> None:
        self.handled.put(-1)


@pytest.fixture
def mailer() -> Iterator[type[Mailer]]:
    class MailerHere(Mailer):
        handled: Queue[int] = Queue()
        gate = threading.Event()

    yield MailerHere
    MailerHere.gate.set()


def fill(services: Services, mailer: type[Mailer]) -> None:
    """Start the service, and leave 0 in its hands and 1, 2, 3 in its queue."""
    services.start()
    services[mailer].put(0)
    assert mailer.handled.get(timeout=LIMIT) == 0
    for item in (1, 2, 3):
        services[mailer].put(item)


def handled(mailer: type[Mailer]) -> list[int]:
    """Return what was handled up to and including the shutdown."""
    return list(iter(lambda: mailer.handled.get(timeout=LIMIT), -1))


def test_items_are_handled_in_their_order(make: Make, mailer: type[Mailer]) -> None:
    """First in, first out, one after another; on the real clock, where put has to wake it."""
    mailer.gate.set()
    services = make(mailer, real=True)
    fill(services, mailer)
    assert [mailer.handled.get(timeout=LIMIT) for _ in range(3)] == [1, 2, 3]


def test_the_instance_takes_items_too(make: Make, mailer: type[Mailer]) -> None:
    """A service may put something into its own queue."""
    mailer.gate.set()
    services = make(mailer)
    services.start()
    services[mailer].put(0)
    assert mailer.handled.get(timeout=LIMIT) == 0
    service = services[mailer].service
    assert service is not None
    service.put(1)
    assert mailer.handled.get(timeout=LIMIT) == 1


def test_a_full_queue_refuses_at_once(make: Make, mailer: type[Mailer]) -> None:
    """Without a timeout nobody is held up; the error says what to do."""
    services = make(mailer)
    fill(services, mailer)
    with pytest.raises(
        ServiceQueueFullError, match=r"3 items already wait.*raise maxsize"
    ) as error:
        services[mailer].put(4)
    assert isinstance(error.value, Full)
    assert services[mailer].info.waiting == 3


def test_put_waits_for_room(make: Make, mailer: type[Mailer]) -> None:
    """With a timeout the item goes in as soon as there is room, which wakes who waits."""
    services = make(mailer, real=True)
    fill(services, mailer)
    waiting = start_thread("putter", lambda: services[mailer].put(4, timeout=3600))
    mailer.gate.set()
    waiting.join(LIMIT)
    assert [mailer.handled.get(timeout=LIMIT) for _ in range(4)] == [1, 2, 3, 4]


def test_put_gives_up_at_its_timeout(make: Make, mailer: type[Mailer], clock: VirtualClock) -> None:
    """After the timeout of the app's clock the queue is full, as it would be without."""
    services = make(mailer)
    fill(services, mailer)
    errors: Queue[Exception] = Queue()

    def put() -> None:
        try:
            services[mailer].put(4, timeout=5)
        except ServiceQueueFullError as error:
            errors.put(error)

    start_thread("putter", put)
    while errors.empty():
        clock.advance(1)
    assert clock.monotonic() >= 5


def test_a_stop_wakes_who_waits_for_room(make: Make, mailer: type[Mailer]) -> None:
    """Nobody waits for a service that takes nothing more."""
    services = make(mailer)
    fill(services, mailer)
    errors: Queue[Exception] = Queue()

    def put() -> None:
        try:
            services[mailer].put(4, timeout=3600)
        except ServiceStoppedError as error:
            errors.put(error)

    start_thread("putter", put)
    services.stop()
    assert "MailerHere" in str(errors.get(timeout=LIMIT))


def test_a_stopped_service_refuses_items(make: Make, mailer: type[Mailer]) -> None:
    """Before the start and after the stop, the caller keeps the item."""
    services = make(mailer)
    with pytest.raises(ServiceStoppedError, match=r"\['MailerHere'\]\.start\(\)"):
        services[mailer].put(1)
    services.start()
    services[mailer].stop(LIMIT)
    with pytest.raises(ServiceStoppedError):
        services[mailer].put(1)


def test_items_may_come_before_startup_succeeded(
    make: Make, mailer: type[Mailer], clock: VirtualClock
) -> None:
    """From the start on the queue is open, even while the service cannot begin yet."""
    ready: list[int] = []

    class Slow(Mailer):
        handled = mailer.handled
        gate = mailer.gate

        def startup(self) -> None:
            if not ready:
                raise ConnectionError

    mailer.gate.set()
    services = make(Slow)
    services.start()
    services[Slow].put(1)
    ready.append(1)
    while mailer.handled.empty():
        clock.advance(1)
    assert mailer.handled.get() == 1


def test_a_service_without_a_queue_says_so(make: Make) -> None:
    """put() on a plain service is an error that names the remedy."""

    class Plain(Service):
        def handle(self) -> None:
            self.wait(3600)

    services = make(Plain)
    with pytest.raises(InvalidTaskError, match="Derive its class from QueueService"):
        cast("Any", services[Plain]).put(1)


def test_queued_items_are_handled_after_a_stop(make: Make, mailer: type[Mailer]) -> None:
    """What was accepted is worked off before the shutdown."""
    services = make(mailer)
    fill(services, mailer)
    services.stop()
    mailer.gate.set()
    assert handled(mailer) == [1, 2, 3]


def test_what_is_left_at_the_deadline_is_counted(
    make: Make, mailer: type[Mailer], caplog: pytest.LogCaptureFixture
) -> None:
    """A service that is stuck cannot tell any more how much is lost, so join does."""
    services = make(mailer)
    fill(services, mailer)
    services.stop()
    services.join(time.monotonic())
    assert "service 'MailerHere' stopped; items lost with its queue: 3" in caplog.text
    mailer.gate.set()
    assert handled(mailer) == []
    assert services[mailer].stop(LIMIT)
    assert caplog.text.count("items lost with its queue") == 1


def test_draining_ends_before_the_deadline(
    make: Make, mailer: type[Mailer], caplog: pytest.LogCaptureFixture
) -> None:
    """Part of the time is kept for the shutdown, so that a long queue does not cost it."""

    class Endless(Mailer):
        handled = mailer.handled
        gate = mailer.gate
        maxsize = 100_000

        def handle(self, item: int) -> None:
            # A millisecond each, so that the queue is a hundred seconds long.
            threading.Event().wait(0.001)

    services = make(Endless, real=True)
    services.start()
    for item in range(Endless.maxsize):
        services[Endless].put(item)
    services.stop()
    services.join(time.monotonic() + 0.5)
    assert services[Endless].status is ServiceStatus.STOPPED
    assert list(mailer.handled.queue) == [-1]
    assert "items lost with its queue" in caplog.text


def test_an_item_that_raises_is_not_handled_again(
    make: Make, mailer: type[Mailer], clock: VirtualClock
) -> None:
    """The next run goes on with the next item."""
    mailer.bad = frozenset({1})
    services = make(mailer)
    fill(services, mailer)
    mailer.gate.set()
    assert handled(mailer) == [1]
    while mailer.handled.empty():
        clock.advance(1)
    assert [mailer.handled.get(timeout=LIMIT) for _ in range(2)] == [2, 3]


def test_a_crash_after_the_stop_costs_no_other_item(make: Make, mailer: type[Mailer]) -> None:
    """While it drains there is no pause: another run takes the rest."""
    mailer.bad = frozenset({1, 2})
    services = make(mailer)
    fill(services, mailer)
    services.stop()
    mailer.gate.set()
    assert [handled(mailer) for _ in range(3)] == [[1], [2], [3]]


def test_a_stop_during_the_pause_after_a_crash_drains(
    make: Make, mailer: type[Mailer], clock: VirtualClock
) -> None:
    """The items that wait get one more run."""
    app = Flask("shop")
    failures: Queue[str] = Queue()

    def note(app: object, **facts: Any) -> None:
        failures.put(facts["service"])

    mailer.bad = frozenset({0})
    services = make(mailer, app=app)
    with service_failed.connected_to(note, sender=app):
        fill(services, mailer)
        mailer.gate.set()
        assert failures.get(timeout=LIMIT) == "MailerHere"
    services.stop()
    assert [handled(mailer) for _ in range(2)] == [[], [1, 2, 3]]


def test_a_startup_that_fails_while_it_drains_is_not_repeated(
    make: Make, mailer: type[Mailer], caplog: pytest.LogCaptureFixture
) -> None:
    """What makes no progress ends, and the items are counted."""
    broken = threading.Event()
    refused: list[int] = []

    class Broken(Mailer):
        handled = mailer.handled
        gate = mailer.gate
        bad = frozenset({0})

        def startup(self) -> None:
            if broken.is_set():
                refused.append(1)
                raise ConnectionError

    services = make(Broken)
    fill(services, Broken)
    broken.set()
    mailer.gate.set()
    assert services[Broken].stop(LIMIT)
    assert "items lost with its queue: 3" in caplog.text
    assert refused == [1]


def test_nothing_that_was_accepted_is_lost(make: Make, mailer: type[Mailer]) -> None:
    """Eight threads put while the service is restarted: each accepted item is handled once."""
    mailer.gate.set()
    services = make(mailer, real=True)
    services.start()
    accepted: Queue[int] = Queue()

    def put(first: int) -> None:
        for item in range(first, first + 200):
            try:
                services[mailer].put(item, timeout=LIMIT)
                accepted.put(item)
            except ServiceStoppedError:
                pass

    threads = [start_thread(f"putter-{n}", lambda n=n: put(n * 1000)) for n in range(8)]  # type: ignore[misc]
    while any(thread.is_alive() for thread in threads):
        assert services[mailer].restart(LIMIT)
    assert services[mailer].stop(LIMIT)
    seen = [item for item in mailer.handled.queue if item >= 0]
    assert sorted(seen) == sorted(accepted.queue)
