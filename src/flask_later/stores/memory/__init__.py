"""The store in this process' memory: nothing to set up, nothing left after the process."""

from .store import MemoryStore

__all__ = ["MemoryStore"]
