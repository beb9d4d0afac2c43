"""Where a test has its file, and the store on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.sqlite.files import opened

from flask_later.stores.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "later.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with closing(opened(path)) as store:
        yield store
