"""What the lifecycle starts and stops in each process."""

from __future__ import annotations

from typing import Protocol


class Part(Protocol):
    """Something of a process that runs: the worker, the callbacks, the services, maintenance.

    It is made anew for each process, so it never crosses a fork.
    """

    def start(self) -> None:
        """Start all threads; returns at once."""
        ...

    def stop(self) -> None:
        """Take nothing more, and tell what runs that it should end; returns at once."""
        ...

    def join(self, deadline: float) -> None:
        """Wait until ``time.monotonic()`` is *deadline*, then give up and report what is left."""
        ...
