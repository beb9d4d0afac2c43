"""Every store of ours keeps the promises of the port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import databases, death

from flask_later.core.store import Limits, Store
from flask_later.stores.memory import MemoryStore
from flask_later.stores.sql import SQLStore
from flask_later.stores.sql.transactions import Transactions
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.store_contract import PatientClock, StoreContract
from flask_later.testing.store_contract.adding import AddingContract
from flask_later.testing.store_contract.base import ContractBase
from flask_later.testing.store_contract.claiming import ClaimingContract
from flask_later.testing.store_contract.expiring import ExpiringContract
from flask_later.testing.store_contract.settling import SettlingContract


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


class InDatabase(ContractBase):
    """A store in a database, by two handles that have nothing in common."""

    kind: str

    @pytest.fixture
    def url(self) -> str:
        return databases.url_of(self.kind)

    @pytest.fixture
    def store(self, url: str, clock: PatientClock, limits: Limits) -> Iterator[Store]:
        databases.empty(url)
        store = SQLStore(url, clock, limits)
        store.open()
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, url: str, clock: PatientClock, limits: Limits) -> Iterator[Store]:
        other = SQLStore(url, clock, limits)
        other.open()
        yield other
        other.close()


@pytest.mark.services
class TestPostgreSQLStore(InDatabase, StoreContract):
    kind = "postgresql"


@pytest.mark.services
class TestPostgreSQLStoreStepByStep(
    InDatabase, AddingContract, ExpiringContract, ClaimingContract, SettlingContract
):
    """Where nothing is done in one statement, as after a try that has failed."""

    kind = "postgresql"

    @pytest.fixture(autouse=True)
    def nothing_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Transactions, "_at_once", lambda *_: None)


@pytest.mark.services
class TestMariaDBStore(InDatabase, StoreContract):
    kind = "mariadb"
