"""How a process hears what PostgreSQL tells."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from .connections import Connections
from .messages import topics_of


class NotifiedEar:
    """A connection of its own, that nothing but notifications comes by.

    Those have to be read: the server keeps all that one listener has not taken yet.
    """

    poll = 0.5
    rest = 0.05

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        # A name of hex digits and underscores.
        self._listen = text(f'LISTEN "{channel}"')
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._db: Connection | None = None
        self._driver: Any = None
        self._line: Any = None

    def receive(self, timeout: float) -> Sequence[str]:
        try:
            if self._db is None:
                self._connect()
            ready = [key.fileobj for key, _ in self._selector.select(timeout)]
            if self._bell in ready:
                self._bell.recv(4096)
            if self._line.socket in ready:
                self._line.consume_input()
            return [topic for message in self._messages() for topic in topics_of(message)]
        except BaseException:
            self._disconnect()
            raise

    def _connect(self) -> None:
        self._db = self._connections.detached()
        self._driver = self._db.connection.dbapi_connection
        self._db.execute(self._listen)
        self._line = self._driver.pgconn
        self._selector.register(self._line.socket, selectors.EVENT_READ)

    def _messages(self) -> list[str]:
        messages: list[str] = []
        while (notification := self._line.notifies()) is not None:
            messages.append(notification.extra.decode())
        return messages

    def interrupt(self) -> None:
        try:
            self._button.send(b"x")
        except OSError:
            # Full, so it rings anyway; or closed.
            return

    def close(self) -> None:
        self._disconnect()
        self._selector.close()
        self._bell.close()
        self._button.close()

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if self._line is not None:
            # A socket that is closed is no longer known by its number.
            for key in [*self._selector.get_map().values()]:
                if key.fileobj is not self._bell:
                    self._selector.unregister(key.fileobj)
            self._line = None
        if db is not None:
            # One that has broken off cannot say good-bye.
            with suppress(SQLAlchemyError):
                db.close()
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()
