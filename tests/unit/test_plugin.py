"""The pytest plugin that comes with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TEST = """
import pytest
from flask_later.stores.memory import MemoryStore
from flask_later.testing import StoreContract

class Forgetful(MemoryStore):
    def log(self, job_id, after=0, limit=100):
        return []

class TestForgetful(StoreContract):
    @pytest.fixture
    def store(self, clock, limits):
        return Forgetful(clock, limits)
"""


def test_a_failed_contract_shows_its_values(tmp_path: Path) -> None:
    """Assertions are rewritten although they stand in a package and in no test file."""
    (tmp_path / "test_forgetful.py").write_text(TEST)
    options = ["-q", "-p", "no:cacheprovider", "-k", "log_lines_are_kept_in_order"]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "assert [] == [LogLine(" in answer.stdout
