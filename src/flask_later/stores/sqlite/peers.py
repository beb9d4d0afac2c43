"""The other processes that use a file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from flask_later.stores import peers
from flask_later.stores.columns import to_micros
from flask_later.stores.ears import DeafEar, Ear

from .connection import Connection, Connections
from .jobs import Jobs
from .stillness import Stillness
from .wakeups import Inbox, Wakeups

#: Seconds that a good-bye may wait for others who write.
_GOODBYE = 0.2


class _Write(Protocol):
    def __call__(
        self, operation: Callable[[Jobs], Any], *, patience: float | None = None
    ) -> Any: ...


class Peers(peers.Peers):
    """Told by :class:`~.wakeups.Wakeups`, and by the file: whether anything has changed in it.

    :param app: names the app, in the names of its sockets.
    """

    is_terse = True

    def __init__(
        self,
        path: Path,
        connections: Connections,
        read: Callable[[], AbstractContextManager[Connection]],
        write: _Write,
        app: str,
    ) -> None:
        self._path = path
        self._connections = connections
        self._read = read
        self._write = write
        self._app = app
        self.wakeups = Wakeups()
        self.begin()

    def begin(self) -> None:
        self.wakeups.mine = None
        self._stillness = Stillness(f"{self._path}-wal")
        #: The version of the file that was last looked at, as that connection counts them.
        self._seen: tuple[Connection | None, int] = None, -1

    def ear(self) -> Ear:
        try:
            inbox = Inbox(self._path, self._app)
        except (OSError, AttributeError):
            # As on Windows.
            return DeafEar()
        self.wakeups.mine = inbox.address
        return inbox

    def announce(self, topics: frozenset[str]) -> None:
        address = self.wakeups.mine
        if address is None:
            return
        with self._read() as db:
            announced = self.wakeups.announced(db, address)
        if announced != topics:
            self._write(
                lambda jobs: self.wakeups.announce(jobs.db, address, topics, to_micros(jobs.now))
            )

    def withdraw(self) -> None:
        address, self.wakeups.mine = self.wakeups.mine, None
        if address is not None:
            self._write(
                lambda jobs: self.wakeups.withdraw(jobs.db, [address.name]), patience=_GOODBYE
            )

    def send(self, topics: Collection[str]) -> None:
        self.wakeups.send(topics)

    def look(self, look: Callable[[], None]) -> None:
        if self._stillness.lasts():
            return
        try:
            connection = self._connections.get()
            version = connection.data_version()
            if (connection, version) != self._seen:
                look()
                self._seen = connection, version
        except BaseException:
            self._stillness.forget()
            raise
