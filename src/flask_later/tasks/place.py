"""Where a function stands in the source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def place_of(function: Callable[..., Any]) -> str:
    """Return where *function* stands, as ``file:line``."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def place_of_caller() -> str:
    """Return where the caller of the caller stands, as ``file:line``."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame and frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
