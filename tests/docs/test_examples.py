"""The examples do what they say, and notice when they do not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .pages import ROOT

pytestmark = pytest.mark.live


def demo(**variables: str) -> subprocess.CompletedProcess[str]:
    """Run the shop once through."""
    return subprocess.run(
        [sys.executable, "examples/shop/demo.py"],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_shop() -> None:
    """Answers at once, works afterwards, drains at its stop, and goes on after it."""
    done = demo()
    assert done.returncode == 0, done.stdout
    assert "20 of 20 audit lines written" in done.stdout
    assert "All of it happened" in done.stdout


def test_the_shop_notices_what_goes_wrong() -> None:
    """A job in the memory of one of two processes is not found in the other."""
    done = demo(FLASK_LATER_STORE="memory://")
    assert done.returncode == 1
    assert "WENT WRONG" in done.stdout
