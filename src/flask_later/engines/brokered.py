"""What the engines share that send their hints through somebody else's broker."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from flask_later.core.engine import Engine, Run, ServeOptions
from flask_later.core.job import Hint
from flask_later.core.store import Finding, Store
from flask_later.engines.draining import Drains
from flask_later.engines.relay import Line, Relay
from flask_later.engines.restarts import Restarts
from flask_later.errors import UnsupportedError
from flask_later.errors.words import named
from flask_later.logs import Log

_logger = Log(__name__)

#: The broker queue of all hints where LATER_QUEUES names none.
DEFAULT_QUEUE = "default"
#: How the names of the workers begin that we start.
_NAME = "later-"


class HintWorker(Protocol):
    """The library's own worker, on threads of this process."""

    def start(self) -> None:
        """Begin to take hints; returns at once."""
        ...

    def stop(self, timeout: float) -> None:
        """Take no more, and wait up to *timeout* seconds for what runs."""
        ...

    def replace(self, thread: threading.Thread) -> None:
        """Start another thread for *thread*, which is stuck, if it is one of the worker's."""
        ...


class BrokeredEngine(Engine):
    """Sends hints through a broker, and takes them from it.

    :param place: where the broker is, for people to read: never with a password.
    :param queues: each is a broker queue; None: one takes the hints at all of them.
    """

    requires_reach = "network"

    def __init__(self, place: str, queues: Sequence[str] | None) -> None:
        self.place = place
        self._queues = queues
        self._worker: HintWorker | None = None

    @abstractmethod
    def make_line(self) -> Line:
        """Make a connection through which hints are sent."""

    @abstractmethod
    def make_worker(
        self, restarts: Restarts, threads: int, queues: Sequence[str], name: str
    ) -> HintWorker:
        """Make a worker that takes hints from the broker's *queues*, by *restarts*."""

    @abstractmethod
    def workers(self) -> Mapping[str, Collection[str]]:
        """Return the names of the library's workers that are alive, with the queues of each.

        Raises whatever goes wrong.
        """

    def bind(self, run: Run, store: Store) -> None:
        self.drains = Drains(run, self.deliver)
        self._relay = Relay(self.make_line, store, self.place)
        self._store = store

    def deliver(self, hints: Sequence[Hint]) -> None:
        # Of a queue that is in use no more, nobody would ever take one away.
        self._relay.deliver(
            [hint for hint in hints if self._queues is None or hint.queue in self._queues]
        )

    def check(self, options: ServeOptions) -> None:
        self._broker_queues(options.queues)

    def serve(self, options: ServeOptions) -> None:
        queues = self._broker_queues(options.queues)
        # By its name people see whose jobs it runs.
        restarts = Restarts(self._look, self.place)
        self._worker = self.make_worker(restarts, options.threads, queues, self._worker_name)
        self._worker.start()

    def replace(self, thread: threading.Thread) -> None:
        if self._worker is not None:
            self._worker.replace(thread)

    def close(self, timeout: float) -> None:
        if self._worker is not None:
            self._worker.stop(timeout)
        else:
            # The library's own command has started this process.
            self.drains.wait(timeout)
        self._relay.close()

    def examine(self) -> Iterator[Finding]:
        try:
            self._look()
            workers = self.workers()
        except Exception as error:
            yield Finding(
                "error",
                f"the broker {self.place} cannot be used ({named(error)})",
                "Start it, or correct host, user, password and what stands behind them (a virtual "
                "host, a number) in LATER_BROKER. Until then jobs are stored and wait.",
            )
            return
        yield Finding("ok", f"broker: {self.place}, with {len(workers)} workers")
        yield from self._examine_queues(workers)
        yield from self._examine_stores(workers)

    def _look(self) -> None:
        """Raise what is wrong with the broker."""
        self.make_line().close()

    def _examine_queues(self, workers: Mapping[str, Collection[str]]) -> Iterator[Finding]:
        for queue in self.broker_queues:
            if not any(queue in taken for taken in workers.values()):
                yield Finding(
                    "warning",
                    f"no worker takes the hints of the broker's queue {queue!r}",
                    "Start one: flask later worker",
                )

    def _examine_stores(self, workers: Mapping[str, Collection[str]]) -> Iterator[Finding]:
        """Those of ours tell by their names which store they use; of the others we only miss it."""
        mine = self._worker_name
        strangers = sorted(
            name for name in workers if name.startswith(_NAME) and not name.startswith(mine)
        )
        if strangers:
            yield Finding(
                "warning",
                f"{', '.join(strangers[:5])}: on this broker, with another store than ours "
                f"({self._store.identity}), so hints go to the wrong ones",
                "Give both sides the same LATER_STORE, and each app a broker of its own.",
            )
        takes = [name for name, taken in workers.items() if {*taken} & {*self.broker_queues}]
        if takes and not strangers and not self._store.workers():
            yield Finding(
                "error",
                f"{', '.join(sorted(takes)[:5])}: takes hints, and is no worker of this store "
                f"({self._store.identity})",
                "Give it the same LATER_STORE: flask later doctor, there, tells which it has.",
            )

    @property
    def _worker_name(self) -> str:
        return f"{_NAME}{self._store.identity}-"

    @property
    def broker_queues(self) -> list[str]:
        """All queues of the broker that hints go to."""
        return [*(self._queues or (DEFAULT_QUEUE,))]

    def broker_queue(self, queue: str) -> str:
        """Return the broker's queue for the hints at *queue*."""
        return DEFAULT_QUEUE if self._queues is None else queue

    def taken_from(self, taken: Collection[str]) -> tuple[str, ...] | None:
        """Return the queues that a worker serves which takes from the broker's queues *taken*.

        None for any, and none at all if these are the app's own queues only.
        """
        if self._queues is None and DEFAULT_QUEUE in taken:
            return None
        return tuple(name for name in self._queues or () if name in taken)

    def tell_idler(self, taken: Collection[str]) -> None:
        """Log a warning if a worker that takes from the broker's queues *taken* gets no job."""
        if self.taken_from(taken) == ():
            _logger.warning(
                "this worker takes from %s, and runs no job of the Flask app, whose queues are %s",
                ", ".join(sorted(taken)),
                ", ".join(self.broker_queues),
            )

    def _broker_queues(self, wanted: Sequence[str] | None) -> list[str]:
        if wanted is not None and self._queues is None:
            raise UnsupportedError(
                f"Taking from the queues {', '.join(wanted)} alone",
                "without LATER_QUEUES the hints at all queues share one queue of the broker",
                "Set LATER_QUEUES to a list of all queues of the app.",
            )
        return [*(wanted or self.broker_queues)]
