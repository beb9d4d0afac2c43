"""What the parts of the contract share: a system under test, and a few verbs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pytest
from flask import Flask
from flask.ctx import AppContext

from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import Clock, VirtualClock
from flask_later.core.engine import Engine, Ran
from flask_later.core.job import Hint, JobState
from flask_later.core.store import Store
from flask_later.extension import Later
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.tasks.current import current_job
from flask_later.tasks.job import Job
from flask_later.testing.loopback import LoopbackEngine
from flask_later.testing.records import START, make_record

T = TypeVar("T")

#: Real seconds after which what should have happened is taken for missing.
PATIENCE = 10.0
#: A topic that nobody wakes: a wait for it ends with the time.
_NOBODY = "@nobody"


class MakeSystem(Protocol):
    """Makes a system, started: see :meth:`ContractBase.make_system`."""

    def __call__(
        self, later: Later | None = None, store: Store | None = None, **config: Any
    ) -> System: ...


@dataclass(frozen=True)
class System:
    """An app that serves, with the engine under test, on a clock that the test moves."""

    app: Flask
    later: Later
    store: Store
    engine: Engine
    clock: VirtualClock
    #: What the tasks of a test tell it, in the order in which they ran.
    seen: list[Any] = field(default_factory=list[Any])

    @property
    def lifecycle(self) -> Lifecycle:
        lifecycle: Lifecycle = self.app.extensions[LIFECYCLE_KEY]
        return lifecycle

    def context(self) -> AppContext:
        """An app context, to enqueue in."""
        return self.app.app_context()

    def run(self, hint: Hint | None = None) -> Ran:
        """What the engine is bound to."""
        return self.lifecycle.run(hint)

    def look(self) -> None:
        """Do maintenance now, whenever its thread comes to do it."""
        self.lifecycle.serve().maintenance.look()

    def stop(self, timeout: float = PATIENCE) -> None:
        self.later.stop(self.app, timeout)

    def stop_once(
        self,
        began: threading.Event,
        timeout: float = PATIENCE,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Stop as soon as a task that runs has set *began*, and call *then* after that."""

        def stop() -> None:
            began.wait(PATIENCE)
            self.stop(timeout)
            then()

        stopper = threading.Thread(target=stop)
        stopper.start()
        if isinstance(self.engine, LoopbackEngine):
            # Its jobs run on this thread, so this returns after the job has.
            self.until(began.is_set)
        stopper.join()

    def job(self, job_id: str) -> Job[object]:
        with self.context():
            return self.later.job(job_id)

    def store_job(self, task: str, **changes: Any) -> Job[object]:
        """Store a job of *task* without arguments, and hint at nothing."""
        record = make_record(at=self.clock.now(), task=task, payload="[[],{}]", **changes)
        self.store.add([record])
        return self.job(record.id)

    def hint(self, job: Job[Any]) -> Hint:
        """Return the hint at *job* that its enqueue delivers."""
        return Hint(self.store.identity, job.queue, job.id, job.record.fence)

    def until(self, fact: Callable[[], bool], *, step: float = 1.0, topic: str = _NOBODY) -> None:
        """Work until *fact* holds, *step* virtual seconds a try.

        :param topic: what may make it hold, as of ``Store.wait``.
        :raises AssertionError: after :data:`PATIENCE` real seconds, with what is stored.
        """
        deadline = time.monotonic() + PATIENCE
        while not fact():
            if time.monotonic() > deadline:
                raise AssertionError(f"It did not come to pass. {self.describe()}")
            self.look()
            if isinstance(self.engine, LoopbackEngine):
                # Nobody else works, so there is nobody to wait for.
                self.engine.pump()
            else:
                self.store.wait((topic,), step or 1.0)
            self.clock.advance(step)

    def finished(self, job: Job[T], *, step: float = 1.0) -> Job[T]:
        """Work until *job* is finished, and return it as it is then."""
        self.until(lambda: job.refresh().is_finished, step=step, topic=job.id)
        return job.refresh()

    def all_finished(self, jobs: Iterable[Job[Any]]) -> None:
        for job in jobs:
            self.finished(job)

    def reaches(self, job: Job[T], state: JobState) -> Job[T]:
        """Work until *job* is in *state*, and return it as it is then."""
        self.until(lambda: job.refresh().state is state)
        return job.refresh()

    def describe(self) -> str:
        """What is stored, for the report of a failure."""
        records = self.store.find(limit=20).records
        stored = [f"{r.task} {r.state.value} attempts={r.attempts} {r.error}" for r in records]
        return f"The newest jobs at {self.clock.now()}: {stored}; seen: {self.seen[-20:]}"


class ContractBase:
    """The fixtures; a subclass provides ``make_engine`` and ``make_store``."""

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock(START)

    @pytest.fixture
    def make_engine(self) -> Callable[[], Engine]:
        """Makes the engine under test: a new one for each app."""
        raise NotImplementedError("A subclass of EngineContract provides make_engine.")

    @pytest.fixture
    def make_store(self) -> Callable[[Clock], Store]:
        """Makes a new, empty store, which tells the time by the clock it gets."""
        raise NotImplementedError("A subclass of EngineContract provides make_store.")

    @pytest.fixture
    def make_system(
        self,
        clock: VirtualClock,
        make_engine: Callable[[], Engine],
        make_store: Callable[[Clock], Store],
    ) -> Generator[MakeSystem]:
        """Makes systems, and stops them all at the end.

        Another system on the same *store* is what comes after a restart, or runs beside it.
        """
        systems: list[System] = []

        def make(later: Later | None = None, store: Store | None = None, **config: Any) -> System:
            app = Flask(f"shop-{len(systems)}")
            app.config.from_mapping({"LATER_MANUAL": False, "LATER_THREADS": 2, **config})
            parts = Prepared(clock, store or make_store(clock), make_engine())
            app.extensions[PREPARED_KEY] = parts
            later = later or Later()
            later.init_app(app)
            system = System(app, later, *_made(parts), clock)
            systems.append(system)
            later.start(app)
            return system

        yield make
        for system in systems:
            system.stop()

    @pytest.fixture
    def system(self, make_system: MakeSystem) -> System:
        return make_system()


def _made(parts: Prepared) -> tuple[Store, Engine]:
    assert parts.store is not None
    assert parts.engine is not None
    return parts.store, parts.engine


def wait_for_stop() -> None:
    """Inside a task: sleep until it is asked to stop, and then go on as a deaf one would."""
    asked = threading.Event()
    current_job.on_stop(lambda reason: asked.set())
    assert asked.wait(PATIENCE), "nobody asked the task to stop"


def stop_politely() -> None:
    """Inside a task: sleep until it is asked to stop, and stop."""
    wait_for_stop()
    current_job.checkpoint()
