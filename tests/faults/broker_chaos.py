"""Who breaks a scene on a database and a broker, as its seed says."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.databases import has_stopped
from tests.live.events import wait_until

from flask_later.core.store import BEAT

from .broker_scene import COMMANDS, OURS, BrokerScene, Command
from .chaos import children_of
from .scene import Script

#: Jobs that a worker has in hand at most.
HANDS = 4
#: What the tasks and the producers take, in seconds: about half of the workers' time, and little of
#: the machine's, which may be slow.
TASK, BREATH = 0.05, 0.05
#: Seconds between two faults: the least and the most.
PAUSE = (0.2, 1.5)
#: Seconds for whatever a fault needs: a worker that has begun, a job that waits.
READY = 120.0


@dataclass
class BrokerChaos:
    """One run: rounds of all faults, each round in an order of its own."""

    scene: BrokerScene
    chance: random.Random
    did: Counter[str] = field(default_factory=Counter)
    #: The most runs that the faults so far can have made of jobs that ran already.
    duplicates: int = 0
    #: Hints that came more than once, and those that the broker forgot.
    doubled: int = 0
    forgotten: int = 0
    #: Workers that have ended by themselves.
    ended: int = 0

    def __post_init__(self) -> None:
        commands = COMMANDS[self.scene.engine]
        self.workers = [(self.scene.work(command), command) for command in commands]
        self.producers = [self._producer() for _ in range(2)]
        self._hinter = self.scene.start("hinter")
        self._turns = 0

    @property
    def faults(self) -> list[Callable[[], None]]:
        of_all = [
            self.kill_worker, self.kill_child, self.kill_producer, self.stop_worker,
            self.restart_database, self.double_hints,
        ]  # fmt: skip
        return of_all + ([self.kill_broker, self.flush_broker] if self.scene.broker else [])

    def run(self, seconds: float) -> None:
        """Break something again and again, everything once at least; let all work at the end."""
        until = time.monotonic() + seconds
        for fault in self._rounds():
            fault()
            self.did[fault.__name__] += 1
            time.sleep(self.chance.uniform(*PAUSE))
            self._start_again()
            if len(self.did) == len(self.faults) and time.monotonic() > until:
                break
        for producer in self.producers:
            producer.kill()

    def _rounds(self) -> Iterator[Callable[[], None]]:
        while True:
            yield from self.chance.sample(self.faults, len(self.faults))

    # What is done to them

    def kill_worker(self) -> None:
        """With all of its processes."""
        number, worker = self._choose_worker()
        for child in children_of(worker.pid):
            _signal(child, signal.SIGKILL)
        worker.kill()
        self._replace(number)

    def kill_child(self) -> None:
        """One of the processes of a worker, which starts another."""
        wait_until(self._kill_a_child, "there is one", READY)
        self.duplicates += HANDS

    def stop_worker(self) -> None:
        """In good order; what it gives back may have begun."""
        number, worker = self._choose_worker()
        worker.signal(signal.SIGTERM)
        with suppress(AssertionError):
            worker.wait(15.0)
        worker.kill()
        self._replace(number)

    def kill_producer(self) -> None:
        number = self.chance.randrange(len(self.producers))
        self.producers[number].kill()
        self.producers[number] = self._producer()

    def restart_database(self) -> None:
        """As if its power had failed: what runs meanwhile cannot settle, and may run again."""
        assert self.scene.server is not None
        self.scene.server.restart()
        self.duplicates += HANDS * len(self.workers)

    def double_hints(self) -> None:
        """Jobs wait, and the broker brings their hints again and again."""
        with self._workers_frozen():
            self._hint_again()

    def kill_broker(self) -> None:
        """It may have been away for a while before it comes back."""
        assert self.scene.broker is not None
        self.scene.broker.kill()
        time.sleep(self.chance.uniform(0.0, 2.0))
        self.scene.broker.start()

    def flush_broker(self) -> None:
        """Jobs wait, and the broker has nothing more of them."""
        with self._workers_frozen():
            self._hint_again()
            forgotten = self.scene.flush()
        assert forgotten, "the broker held nothing"
        self.forgotten += forgotten

    # How it goes on

    def _choose_worker(self) -> tuple[int, Command]:
        """Return one that takes jobs: who is still starting would not mind."""
        number = self.chance.choice(wait_until(self._at_work, "a worker takes jobs", READY))
        return number, self.workers[number][0]

    def _kill_a_child(self) -> bool:
        _, worker = self._choose_worker()
        children = children_of(worker.pid)
        if children:
            _signal(self.chance.choice(children), signal.SIGKILL)
        return bool(children)

    def _at_work(self) -> list[int]:
        """Which workers take jobs, as the store knows."""
        self._start_again()
        known = self.scene.pids_at_work()
        return [
            number
            for number, (worker, _) in enumerate(self.workers)
            if known & {*children_of(worker.pid)}
        ]

    def _start_again(self) -> None:
        """As whatever looks after a server does.

        RQ's own worker ends if Redis is away when a job has run, Celery's if its children cannot
        start in time, and ours does not begin while the database is away.
        """
        for number, (worker, command) in enumerate(self.workers):
            if not worker.runs:
                may_end = command is not OURS or "\nError: The database" in worker.log
                assert may_end, f"{worker.name} has ended by itself\n{worker.log}"
                worker.kill()
                self._replace(number)
                self.ended += 1

    def _replace(self, number: int) -> None:
        self.duplicates += HANDS
        _, command = self.workers[number]
        self.workers[number] = (self.scene.work(command), command)

    def _producer(self) -> Script:
        return self.scene.producer(1_000_000, TASK, pause=BREATH, DOUBLED="1")

    @contextmanager
    def _workers_frozen(self) -> Iterator[None]:
        """So that jobs wait."""
        began = time.monotonic()
        frozen: list[int] = []
        try:
            for worker, _ in self.workers:
                frozen += _freeze_with_children(worker.pid)
            yield
        finally:
            for pid in frozen:
                _signal(pid, signal.SIGCONT)
        if time.monotonic() - began > BEAT:
            # They may have missed their beats.
            self.duplicates += HANDS * len(self.workers)

    def _hint_again(self) -> None:
        self._turns += 1
        self.scene.open_gate(f"again-{self._turns}")
        (done,) = self.scene.events.wait_for("hinted", turn=self._turns, timeout=READY)
        assert done["held"] > 0, "no hint has come to the broker"
        self.doubled += done["hints"]


def _freeze_with_children(pid: int) -> list[int]:
    """Return who is frozen."""
    _signal(pid, signal.SIGSTOP)
    # It may be starting another one at this moment.
    wait_until(lambda: has_stopped(pid), f"{pid} is frozen")
    children = children_of(pid)
    for child in children:
        _signal(child, signal.SIGSTOP)
    return [pid, *children]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
