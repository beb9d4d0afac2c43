"""The port that every engine implements: it brings work to a worker, and knows nothing else.

An author of an engine implements :class:`Engine` and proves it with
``flask_later.testing.EngineContract``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from threading import Thread
from typing import ClassVar, Protocol

from flask_later.core.job import Hint
from flask_later.core.store import Finding, Reach, Store


class Ran(Enum):
    """What came of a call to :class:`Run`."""

    #: At least one job was run.
    RAN = "ran"
    #: There was nothing to do: the hint was spent, or the queue paused.
    EMPTY = "empty"
    #: The hint is not of this store, or this process is stopping. Nothing was claimed.
    REFUSED = "refused"


def never() -> bool:
    """Claim no further job once the first has run."""
    return False


class Run(Protocol):
    """Claim a job and run it, on the caller's thread.

    The exchange that settles it claims the next while ``more()`` holds; returns when nothing is
    left or ``more()`` is false. Raises nothing that a task raised. With *patience*, it first sleeps
    until there may be a job, at most so many seconds.
    """

    def __call__(
        self,
        hint: Hint | None = None,
        more: Callable[[], bool] = never,
        patience: float = 0.0,
    ) -> Ran: ...


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How much work an engine takes at a time, and from where."""

    threads: int
    #: In strict order; None for any queue.
    queues: tuple[str, ...] | None = None


class Engine(ABC):
    """Brings work to a worker.

    Messages may be lost, doubled or reordered: the store decides who runs what, and maintenance
    hints again at what waits too long.
    """

    #: What a store must be visible to.
    requires_reach: ClassVar[Reach]
    #: Where hints pass through, for people to read: never with a password. Empty for nowhere.
    place: str = ""

    @abstractmethod
    def bind(self, run: Run, store: Store) -> None:
        """Take what runs a job, and the store. Called once, before anything else."""

    @abstractmethod
    def deliver(self, hints: Sequence[Hint]) -> None:
        """Bring *hints* to whoever works, after the commit, within two seconds.

        Never raises because somebody is out of reach: the store has the jobs.
        """

    def check(self, options: ServeOptions) -> None:  # noqa: B027 - most can do all of it
        """Refuse what :meth:`serve` could not do, before any process is started for it.

        :raises UnsupportedError: then.
        """

    @abstractmethod
    def serve(self, options: ServeOptions) -> None:
        """Begin to work in this process, on threads of the engine's own; returns at once."""

    def replace(self, thread: Thread) -> None:  # noqa: B027 - most engines own no threads
        """Start another thread for *thread*, which is stuck, if it is one of the engine's own.

        What serves on processes or threads of a library's has nothing to do here.
        """

    @abstractmethod
    def close(self, timeout: float) -> None:
        """Take no more, wait up to *timeout* seconds for what runs. Calling it twice is fine."""

    def examine(self) -> Iterator[Finding]:
        """Yield what can be said about the way of the hints, for ``flask later doctor``.

        Changes nothing. It may take long, so each finding comes as soon as it is known.
        """
        return iter(())
