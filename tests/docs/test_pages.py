"""Every example of every page runs, and no link leads nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, read

PROGRAMS = [page for page in PAGES if read(page).program and "pytest" not in read(page).notes]
TESTS = [page for page in PAGES if "pytest" in read(page).notes]


def run(folder: Path, *arguments: str) -> None:
    """Run Python in *folder*, where warnings are errors and nothing is set in the environment."""
    foreign = ("FLASK_", "WERKZEUG_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def run_tests(folder: Path, text: str) -> None:
    """Run *text* as a file of tests."""
    (folder / "test_app.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_app.py")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_of_a_page_runs(tmp_path: Path, name: str) -> None:
    """All blocks in their order, as one program."""
    run(tmp_path, "-m", "tests.docs.run_page", name)


@pytest.mark.parametrize("name", TESTS)
def test_a_page_of_tests_passes(tmp_path: Path, name: str) -> None:
    """All blocks in their order, as one file of tests."""
    run_tests(tmp_path, "".join(block.text for block in read(name).program))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """Within the repository; other sites are not asked."""
    folder = (ROOT / name).parent
    assert [link for link in read(name).links if not (folder / link).exists()] == []
