"""Every store of ours keeps the promises of the port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_later.core.store import Limits, Store
from flask_later.stores.memory import MemoryStore
from flask_later.testing.store_contract import PatientClock, StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, clock: PatientClock, limits: Limits) -> Iterator[Store]:
        store = MemoryStore(clock, limits)
        store.open()
        yield store
        store.close()
