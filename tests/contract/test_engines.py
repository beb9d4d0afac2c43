"""Every engine of ours keeps the promises of the port, on every store of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from tests.contract.hanging import ReplacesThreads

from flask_later.core.clock import Clock
from flask_later.core.engine import Engine
from flask_later.core.store import Store
from flask_later.engines.native import NativeEngine
from flask_later.stores.memory import MemoryStore
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing import EngineContract, LoopbackEngine
from flask_later.testing.engine_contract import MakeSystem
from flask_later.testing.engine_contract.base import PATIENCE


class OnMemory:
    @pytest.fixture
    def make_store(self) -> Callable[[Clock], Store]:
        return MemoryStore


class OnSQLite:
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[Clock], Store]:
        numbers = count()
        return lambda clock: SQLiteStore(tmp_path / f"later-{next(numbers)}.sqlite3", clock)


class Native(ReplacesThreads, EngineContract):
    @pytest.fixture
    def make_engine(self) -> Callable[[], Engine]:
        return NativeEngine

    def test_threads_work_side_by_side(self, make_system: MakeSystem) -> None:
        """As many jobs run at a time as there are threads."""
        system = make_system(LATER_THREADS=3)
        together = threading.Barrier(3, timeout=PATIENCE)

        @system.later.task
        def meet() -> int:
            return together.wait()

        with system.context():
            jobs = [meet.enqueue() for _ in range(3)]
        system.all_finished(jobs)
        assert sorted(job.refresh().result for job in jobs) == [0, 1, 2]


class Loopback(EngineContract):
    @pytest.fixture(params=range(3), ids=lambda seed: f"seed{seed}")
    def make_engine(self, request: pytest.FixtureRequest) -> Callable[[], Engine]:
        return lambda: LoopbackEngine(request.param)


class TestNativeOnMemory(OnMemory, Native):
    pass


class TestNativeOnSQLite(OnSQLite, Native):
    pass


class TestLoopbackOnMemory(OnMemory, Loopback):
    pass


class TestLoopbackOnSQLite(OnSQLite, Loopback):
    pass
