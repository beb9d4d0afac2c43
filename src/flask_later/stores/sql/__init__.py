"""The store in a database: shared by the processes of many machines, kept when they end."""

from __future__ import annotations

from .store import SQLStore

__all__ = ["SQLStore"]
