"""Every store of ours keeps the promises of the port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import death

from flask_later.core.store import Limits, Store
from flask_later.stores.memory import MemoryStore
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.store_contract import PatientClock, StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, clock: PatientClock, limits: Limits) -> Iterator[Store]:
        store = MemoryStore(clock, limits)
        store.open()
        yield store
        store.close()


class TestSQLiteStore(StoreContract):
    def end_process(self, store: Store) -> None:
        """The kernel drops the locks of a dead process."""
        assert isinstance(store, SQLiteStore)
        death.end_process(store)

    @pytest.fixture
    def store(self, tmp_path: Path, clock: PatientClock, limits: Limits) -> Iterator[Store]:
        store = SQLiteStore(tmp_path / "later.sqlite3", clock, limits)
        store.open()
        yield store
        store.close()

    @pytest.fixture
    def other(
        self, store: Store, tmp_path: Path, clock: PatientClock, limits: Limits
    ) -> Iterator[Store]:
        other = SQLiteStore(tmp_path / "later.sqlite3", clock, limits)
        other.open()
        yield other
        other.close()
