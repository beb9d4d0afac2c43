"""The other processes that use a store: how this one tells them, and hears them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from flask_later.core.job import is_id

from .ears import DeafEar, Ear
from .waiters import ANY

#: What a process listens for that waits for jobs to end: which, changes too often.
IDS = "@ids"


def announced_as(topics: Collection[str]) -> frozenset[str]:
    """Return as what a wait for *topics* is announced."""
    return frozenset(IDS if is_id(topic) else topic for topic in topics or (ANY,))


class Peers:
    """Nobody can be told: each process looks for itself. What can be said more, a subclass does.

    What is told says *look again*. It may be lost, and means nothing by itself.
    """

    #: Whether it is told once what follows at once, so that whoever hears it looks again soon.
    is_terse = False

    def begin(self) -> None:
        """Begin in this process, also in the child of a fork: what its parent said is not its."""

    def ear(self) -> Ear:
        """Return a new ear, to hear what this process announces."""
        return DeafEar()

    def announce(self, topics: frozenset[str]) -> None:
        """Say that this process listens for *topics* and nothing else. Called again and again.

        :raises StoreError: if it cannot be said.
        """

    def withdraw(self) -> None:
        """Say that this process listens no more.

        :raises StoreError: if it cannot be said.
        """

    def send(self, topics: Collection[str]) -> None:
        """Tell those who listen for *topics*, in other processes. Never fails."""

    def look(self, look: Callable[[], None]) -> None:
        """Call *look*, unless nothing can have changed since it was last called and returned."""
        look()
