"""How far the tests go: `make test` has minutes, `make soak` has hours."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

SOAKING = os.environ.get("SOAK") == "1"


def pick(short: T, soak: T) -> T:
    """Return the one that is meant for this run."""
    return soak if SOAKING else short
