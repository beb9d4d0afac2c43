"""Where a function stands in the source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_OURS = __name__.partition(".")[0]


def place_of(function: Callable[..., Any]) -> str:
    """Return where *function* stands, as ``file:line``."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def place_of_caller() -> str:
    """Return where the code stands that has called into this package, as ``file:line``."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == _OURS:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
