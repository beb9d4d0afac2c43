"""Hints on their way to a broker: few, soon, and in nobody's way."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.shop import until

from flask_later.core.clock import SystemClock
from flask_later.core.job import Hint
from flask_later.core.store import Store, WorkerRecord
from flask_later.engines import relay
from flask_later.engines.relay import Relay
from flask_later.stores.memory import MemoryStore

#: Hints that go out at once before anybody has answered: four for each of four jobs at a time.
FEW = 16


@dataclass
class Broker:
    """One that keeps what it is sent until somebody takes it, and may be out of reach."""

    kept: list[Hint] = field(default_factory=list[Hint])
    senders: list[threading.Thread] = field(default_factory=list[threading.Thread])
    connections: int = 0
    down: bool = False
    #: Connections that were made before it was started anew.
    broken: int = 0
    #: Set while somebody who sends has to wait.
    held: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def connect(self) -> Line:
        self.connections += 1
        if self.down:
            raise ConnectionRefusedError("nobody listens")
        return Line(self, self.connections)

    def take_all(self) -> list[Hint]:
        taken, self.kept = self.kept, []
        return taken


@dataclass
class Line:
    broker: Broker
    number: int

    def send(self, hint: Hint) -> None:
        self.broker.held.set()
        assert self.broker.open.wait(10)
        if self.broker.down or self.number <= self.broker.broken:
            raise ConnectionResetError("it is gone")
        self.broker.kept.append(hint)
        self.broker.senders.append(threading.current_thread())

    def waiting(self, queue: str) -> int:
        return sum(hint.queue == queue for hint in self.broker.kept)

    def close(self) -> None:
        pass


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def store() -> Iterator[Store]:
    store = MemoryStore(SystemClock())
    store.open()
    yield store
    store.close()


@pytest.fixture
def sending(broker: Broker, store: Store) -> Iterator[Relay]:
    sending = Relay(broker.connect, store, "broker://test")
    yield sending
    sending.close()


def hints(count: int, queue: str = "default") -> list[Hint]:
    return [Hint("store", queue, f"job-{number}", 0) for number in range(count)]


def test_few_hints_go_out_at_once(broker: Broker, sending: Relay) -> None:
    """On the thread that has them, in their order, through one connection."""
    for hint in hints(FEW):
        sending.deliver([hint])
    assert broker.kept == hints(FEW)
    assert {*broker.senders} == {threading.current_thread()}
    assert broker.connections == 1


def test_of_many_the_broker_gets_few(broker: Broker, sending: Relay) -> None:
    """Whoever takes one of those that are there comes after the commit of all."""
    sending.deliver(hints(10_000))
    until(lambda: len(broker.kept) >= FEW)
    sending.close()
    assert len(broker.kept) == FEW


def test_a_stream_gets_a_hint_now_and_then(
    broker: Broker, sending: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although each is taken at once: whoever takes one goes on with the jobs behind."""
    monkeypatch.setattr(relay, "_SPACING", 1000.0)
    for hint in hints(200):
        sending.deliver([hint])
        broker.take_all()
    until(lambda: len(broker.senders) > FEW)
    assert len(broker.senders) == FEW + 1


def test_a_burst_gets_a_hint_for_each_job_that_can_run(
    broker: Broker, store: Store, sending: Relay
) -> None:
    """One after the other; they may be long, and each worker takes one."""
    store.register(WorkerRecord("w", "host", 1, SystemClock().now(), None, threads=10))
    sending.deliver(hints(FEW))
    broker.take_all()
    sending.deliver(hints(10))
    until(lambda: len(broker.senders) == FEW + 10)


def test_each_queue_has_its_own_measure(broker: Broker, sending: Relay) -> None:
    """A burst on one delays no other."""
    sending.deliver(hints(100, "slow"))
    sending.deliver(hints(1, "mail"))
    until(lambda: broker.kept[-1].queue == "mail")


def test_no_job_is_left_without_a_hint_after_it(broker: Broker, sending: Relay) -> None:
    """All hints before were taken when it came: there has to be another.

    At itself or at one before it: whoever takes that finds both.
    """
    sending.deliver(hints(100))
    broker.take_all()
    sending.deliver([Hint("store", "default", "last", 0)])
    until(lambda: broker.kept)


def test_more_workers_get_more_hints(broker: Broker, store: Store, sending: Relay) -> None:
    """Four for each job that can run at a time, as the store knows them."""
    store.register(WorkerRecord("w", "host", 1, SystemClock().now(), None, threads=10))
    sending.deliver(hints(FEW + 1))
    until(lambda: len(broker.kept) == FEW + 1)
    sending.deliver(hints(100))
    until(lambda: len(broker.kept) == 40)


def test_nobody_waits_for_another_one_to_send(broker: Broker, sending: Relay) -> None:
    """A broker that takes its time holds up one request, and the hint of the next is sent later."""
    broker.open.clear()
    first = threading.Thread(target=sending.deliver, args=(hints(1),))
    first.start()
    assert broker.held.wait(10)
    began = time.monotonic()
    sending.deliver(hints(2)[1:])
    assert time.monotonic() - began < 1.0
    broker.open.set()
    first.join()
    until(lambda: broker.kept == hints(2))


def test_a_broker_that_is_down_is_left_alone(
    broker: Broker, sending: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    """One try, one line in the log, and then hints are dropped at once: the store hints again."""
    broker.down = True
    for hint in hints(50):
        sending.deliver([hint])
    assert broker.connections == 1
    assert len(caplog.records) == 1
    assert "broker://test" in caplog.text
    assert "nobody listens" in caplog.text


def test_a_broker_that_comes_back_gets_the_next_hint(
    broker: Broker, sending: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause, through a new connection."""
    monkeypatch.setattr(relay, "_FIRST_PAUSE", 0.05)
    sending.deliver(hints(1))
    broker.down = True
    sending.deliver(hints(1))
    broker.down = False
    until(lambda: sending.deliver(hints(1)) or len(broker.kept) > 1)
    assert broker.connections == 3


def test_a_broker_that_was_started_anew_gets_the_hint_at_once(
    broker: Broker, sending: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    """The old connection is broken, which says nothing about the broker."""
    sending.deliver(hints(1))
    broker.broken = 1
    sending.deliver(hints(1))
    assert len(broker.kept) == broker.connections == 2
    assert not caplog.records


def test_what_is_owed_is_sent_at_the_end(broker: Broker, sending: Relay) -> None:
    """Unless the broker has enough of them."""
    broker.open.clear()
    first = threading.Thread(target=sending.deliver, args=(hints(1),))
    first.start()
    assert broker.held.wait(10)
    sending.deliver(hints(2)[1:])
    broker.open.set()
    sending.close()
    first.join()
    assert broker.kept == hints(2)


def test_a_forked_child_has_a_connection_of_its_own(broker: Broker, sending: Relay) -> None:
    """And locks of its own: its parent was sending when it was forked."""
    broker.open.clear()
    first = threading.Thread(target=sending.deliver, args=(hints(1),))
    first.start()
    assert broker.held.wait(10)
    child = os.fork()
    if child == 0:
        broker.open = threading.Event()
        broker.open.set()
        sending.deliver(hints(1))
        os._exit(0 if (len(broker.kept), broker.connections) == (1, 2) else 1)
    broker.open.set()
    first.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
