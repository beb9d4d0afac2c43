"""The store in a SQLite file: shared by the processes of one machine, kept when they end."""

from __future__ import annotations

from .store import SQLiteStore

__all__ = ["SQLiteStore"]
