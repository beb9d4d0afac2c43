"""Ticking: a schedule fires once for each of its instants, however many processes try."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_later.core.store import Limits, Store
from flask_later.errors import QueueFullError
from flask_later.testing.records import START, make_record

from .base import ContractBase, claim_ids, is_gone, now_of, put

NEXT = START + timedelta(hours=1)


class TickingContract(ContractBase):
    def test_a_tick_stores_its_job(self, store: Store, other: Store, worker: str) -> None:
        """And remembers when the schedule was last due, for all."""
        record = make_record(schedule="digest", scheduled_at=START)
        assert store.tick("digest", START, record) is True
        assert now_of(other, record) == record
        assert dict(other.schedules()) == {"digest": START}
        assert claim_ids(store, worker) == [record.id]

    def test_a_tick_fires_once(self, store: Store, other: Store) -> None:
        """Who comes second is told so, and stores nothing."""
        first, second = make_record(), make_record()
        assert store.tick("digest", START, first) is True
        assert other.tick("digest", START, second) is False
        assert is_gone(store, second)

    def test_an_earlier_tick_comes_too_late(self, store: Store) -> None:
        """A process whose clock is behind does not fire what is over."""
        store.tick("digest", NEXT, make_record())
        late = make_record()
        assert store.tick("digest", START, late) is False
        assert is_gone(store, late)
        assert dict(store.schedules()) == {"digest": NEXT}

    def test_a_later_tick_fires(self, store: Store) -> None:
        """Each instant has its job."""
        store.tick("digest", START, make_record())
        assert store.tick("digest", NEXT, make_record()) is True
        assert len(store.find().records) == 2
        assert dict(store.schedules()) == {"digest": NEXT}

    def test_schedules_do_not_meet(self, store: Store) -> None:
        """Each has its own instants."""
        assert store.tick("a", NEXT, make_record()) is True
        assert store.tick("b\0", START, make_record()) is True
        assert dict(store.schedules()) == {"a": NEXT, "b\0": START}

    def test_a_tick_that_does_not_fit_has_not_fired(self, store: Store, limits: Limits) -> None:
        """The queue is full: the next process may try the same instant again."""
        store.add([make_record() for _ in range(limits.max_pending)])
        with pytest.raises(QueueFullError):
            store.tick("digest", START, make_record())
        assert dict(store.schedules()) == {}

    def test_a_tick_whose_unique_key_is_taken_stores_no_second_job(self, store: Store) -> None:
        """The run before is not over: this one is left out, and not tried again."""
        put(store, make_record(unique_key="digest"))
        assert store.tick("digest", START, make_record(unique_key="digest")) is True
        assert len(store.find().records) == 1
        assert dict(store.schedules()) == {"digest": START}

    def test_nothing_has_fired_at_first(self, store: Store) -> None:
        """A new store knows no schedule."""
        assert dict(store.schedules()) == {}
