"""What proves an app, a store or an engine.

For an app in manual mode (``app.testing`` is enough): :func:`run_all` and :func:`advance`. For
authors of stores and engines: ``StoreContract`` and ``EngineContract``, which need pytest and
are imported when they are asked for, and ``LoopbackEngine``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flask_later.core.clock import VirtualClock
from flask_later.testing.kit import advance, run_all
from flask_later.testing.loopback import LoopbackEngine

if TYPE_CHECKING:
    from flask_later.testing.engine_contract import EngineContract
    from flask_later.testing.store_contract import StoreContract

__all__ = [
    "EngineContract",
    "LoopbackEngine",
    "StoreContract",
    "VirtualClock",
    "advance",
    "run_all",
]

_CONTRACTS = {"EngineContract": "engine_contract", "StoreContract": "store_contract"}


def __getattr__(name: str) -> Any:
    if name in _CONTRACTS:
        return getattr(import_module(f"{__name__}.{_CONTRACTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
