"""What the parts of the contract share: its fixtures and a few verbs."""

from __future__ import annotations

import threading
from datetime import timedelta
from math import isinf

import pytest

from flask_later.core.clock import VirtualClock
from flask_later.core.exchange import NOTHING, Claim, Handover, Outcome, Want
from flask_later.core.job import ErrorRecord, Hint, JobRecord, JobState
from flask_later.core.store import Limits, Store, Swept, WorkerRecord
from flask_later.testing.records import START, make_record

#: Real seconds after which a thread that should have gone on is taken for stuck.
PATIENCE = 10.0

OOPS = ErrorRecord("ValueError", "oops", "Traceback ...")


class PatientClock(VirtualClock):
    """A virtual clock on which only a wake or an advance ends a wait: so it proves the wakes."""

    def __init__(self) -> None:
        super().__init__(START)
        #: Set as soon as anyone waits on this clock.
        self.someone_waits = threading.Event()

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        if timeout is not None and timeout <= 0:
            return False
        deadline = None if timeout is None else self.monotonic() + timeout
        with self._lock:
            self._waiting.append(condition)
        # Whoever sees this event needs the condition's lock to wake us, and we hold it until the
        # next line lets go of it.
        self.someone_waits.set()
        try:
            condition.wait(PATIENCE)
        finally:
            with self._lock:
                self._waiting.remove(condition)
        return deadline is None or self.monotonic() < deadline


class ContractBase:
    """The fixtures; a subclass provides ``store``."""

    @pytest.fixture
    def clock(self) -> PatientClock:
        return PatientClock()

    @pytest.fixture
    def limits(self) -> Limits:
        """Bounds that a test can reach."""
        return Limits(
            max_pending=12,
            max_pending_per_principal=4,
            max_finished=6,
            max_log_lines=10,
            keep={
                JobState.SUCCEEDED: timedelta(hours=1),
                JobState.FAILED: timedelta(hours=2),
                JobState.CANCELLED: timedelta(hours=3),
            },
        )

    @pytest.fixture
    def store(self, clock: PatientClock, limits: Limits) -> Store:
        raise NotImplementedError("A subclass of StoreContract provides the store, opened.")

    @pytest.fixture
    def other(self, store: Store) -> Store:
        """A second handle on the same jobs, where there can be one."""
        return store

    def end_process(self, store: Store) -> None:
        """Let the workers of *store* die as the end of their process does, if that leaves a trace.

        A store that sees more of a death than beats that do not come simulates it here.
        """

    def die(self, store: Store, other: Store, clock: PatientClock) -> Swept:
        """Let all workers of *store* die until they count as dead; sweep by *other*."""
        self.end_process(store)
        clock.advance(3600 if isinf(store.rescue_after) else store.rescue_after + 1)
        return other.sweep(100, {})

    @pytest.fixture
    def worker(self, store: Store, clock: PatientClock) -> str:
        return hire(store, clock, "worker-1")

    @pytest.fixture
    def rival(self, other: Store, clock: PatientClock) -> str:
        """A second worker, which calls ``other``."""
        return hire(other, clock, "worker-2")


def hire(store: Store, clock: PatientClock, name: str) -> str:
    """Register a worker called *name*."""
    store.register(WorkerRecord(name, "localhost", 4711, clock.now()))
    return name


def put(store: Store, *records: JobRecord) -> list[JobRecord]:
    """Add *records*, in one commit, and return them."""
    store.add(records)
    return list(records)


def claim(
    store: Store,
    worker: str,
    limit: int = 1,
    queues: tuple[str, ...] | None = None,
    prefer: Hint | None = None,
) -> list[JobRecord]:
    """Claim up to *limit* jobs."""
    return list(store.exchange(worker, (), Want(limit, queues, prefer)).claimed)


def claim_ids(
    store: Store, worker: str, limit: int = 1, queues: tuple[str, ...] | None = None
) -> list[str]:
    """Claim up to *limit* jobs and return their ids."""
    return [record.id for record in claim(store, worker, limit, queues)]


def settle(store: Store, worker: str, *outcomes: Outcome) -> Handover:
    """Settle *outcomes* and claim nothing."""
    return store.exchange(worker, outcomes, NOTHING)


def start(store: Store, worker: str, record: JobRecord | None = None) -> JobRecord:
    """Add a job and claim it; return it as claimed."""
    record = record or make_record()
    store.add([record])
    (running,) = claim(store, worker)
    assert running.id == record.id
    return running


def attempt(record: JobRecord) -> Claim:
    """Return the claim of a claimed record."""
    return Claim(record.id, record.fence)


def now_of(store: Store, record: JobRecord) -> JobRecord:
    """Return *record* as the store has it now."""
    return store.get([record.id])[record.id]


def is_gone(store: Store, record: JobRecord) -> bool:
    """Whether the store has forgotten *record*."""
    return not store.get([record.id])
