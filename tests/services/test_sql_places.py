"""The last place of a principal goes to one, however many ask at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_later.core.store import Limits, Store
from flask_later.errors import PrincipalQueueFullError
from flask_later.testing.records import make_record

from .conftest import Open

pytestmark = pytest.mark.services

MOST, THREADS = 40, 8


def test_of_many_at_a_time_as_many_are_stored_as_may_wait(url: str, opened: Open) -> None:
    """Those of all processes."""
    limits = Limits(max_pending_per_principal=MOST)
    stores = [opened(url, limits=limits) for _ in range(2)]
    with ThreadPoolExecutor(THREADS) as pool:
        stored = sum(pool.map(fill, [stores[number % 2] for number in range(THREADS)]))
    assert stored == MOST == len(stores[0].find(limit=2 * MOST).records)


def fill(store: Store) -> int:
    """Store jobs until one is refused; return how many were stored."""
    for stored in range(MOST + 1):
        try:
            store.add([make_record(principal="ann")])
        except PrincipalQueueFullError:
            return stored
    raise AssertionError("none was refused")
