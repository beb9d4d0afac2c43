"""An app with tasks, as most tests of what runs them need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.shop import Shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    """One thread takes its jobs, one after the other."""
    with Shop(THREADS=1) as shop:
        yield shop


@pytest.fixture
def manual() -> Iterator[Shop]:
    """Nothing runs by itself; the time stands still."""
    with Shop(MANUAL=True) as shop:
        yield shop
