"""Importing what the settings name, which no fork may cut in two.

A module that another thread imports at the moment of a fork is locked in the child for ever.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module
from typing import Any

#: Seconds for which a fork waits for an import; longer, and it takes its chances.
_PATIENCE = 10.0

_loading = threading.RLock()
_held: list[threading.RLock] = []


def load(module: str, name: str) -> Any:
    """Import *module* of this package and return its *name*."""
    with _loading:
        return getattr(import_module(f"flask_later.{module}"), name)


def _before() -> None:
    if _loading.acquire(timeout=_PATIENCE):
        _held.append(_loading)


def _after() -> None:
    while _held:
        _held.pop().release()


if sys.platform != "win32":
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
