"""The connections of a process to its database."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError

from flask_later.errors import InvalidSettingError

#: How much of each other they see.
_TRANSACTIONS = "READ COMMITTED"
_OPTION = "?ssl_ca=/etc/ssl/db.pem"
#: Seconds to wait for a server that does not answer at all.
CONNECT_TIMEOUT = 5
#: Seconds for which a transaction waits for a lock, and at most lies idle: a process that is
#: stopped in the middle of one must not hold up all others.
LOCK_TIMEOUT, IDLE_TIMEOUT = 5, 10
#: Seconds without an answer after which a connection is given up. No statement of ours takes long.
_SILENCE = 30

_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": _SILENCE * 1000,
    "application_name": "flask-later",
}
# Every statement has its index, in its order. Where statistics are old, as those of a queue always
# are, the planner would now and then rather sort a whole backlog for one job.
_SETTINGS = f"""
    SET lock_timeout = '{LOCK_TIMEOUT}s';
    SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s';
    SET enable_sort = off;
    SET enable_bitmapscan = off;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SET plan_cache_mode = force_generic_plan
"""
_MYSQL: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "read_timeout": _SILENCE,
    "write_timeout": _SILENCE,
    # Strict: a text that is too long is an error, and not cut. What stands behind M! only MariaDB
    # reads.
    "init_command": (
        f"SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
        f"innodb_lock_wait_timeout = {LOCK_TIMEOUT}, lock_wait_timeout = {LOCK_TIMEOUT} "
        f"/*M!100306 , idle_transaction_timeout = {IDLE_TIMEOUT} */"
    ),
}


class Connections:
    """A pool for each process: after a fork the child makes its own.

    :param limit: the most connections that this process has.
    :param patience: seconds to wait for one of them.
    """

    def __init__(self, url: URL, limit: int, patience: float) -> None:
        self.is_postgresql = url.get_backend_name() == "postgresql"
        ours = _POSTGRESQL if self.is_postgresql else _MYSQL
        self._engine = create_engine(
            url,
            # Where a statement is a round trip, those that stand alone are no more than that.
            isolation_level="AUTOCOMMIT" if self.is_postgresql else _TRANSACTIONS,
            pool_size=limit,
            max_overflow=0,
            pool_timeout=patience,
            # Those that few need are closed by the server in time. There is no ping before each
            # use: whatever meets a dead connection is tried again on a new one.
            pool_use_lifo=True,
            # Arguments of jobs are nobody's business, and errors end up in logs.
            hide_parameters=True,
            connect_args={name: ours[name] for name in ours if name not in url.query},
        )
        _require_known_options(self._engine)
        event.listen(self._engine, "do_connect", _connect)
        self._writing: Engine = self._engine
        if self.is_postgresql:
            event.listen(self._engine, "connect", _set_up)
            event.listen(self._engine, "checkout", _require_open)
            self._writing = self._engine.execution_options(isolation_level=_TRANSACTIONS)
        self._keeps_open = False
        self._pid = os.getpid()

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Lend one for transactions."""
        with self._lend(self._writing) as db:
            yield db

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Lend one for single statements, each of which is a transaction."""
        with self._lend(self._engine) as db:
            yield db

    def detached(self) -> Connection:
        """Return one like those of :meth:`reading`, that the pool does not count.

        Whoever asks for it closes it, and the driver's own, which is not closed by that where it
        has broken off.
        """
        self._look_after()
        db = self._engine.connect()
        db.detach()
        return db

    def open(self) -> None:
        """Keep connections from now on for whoever needs one next."""
        self._keeps_open = True

    def close(self) -> None:
        """Close all, those in use as soon as they are given back.

        Who comes later gets one of its own, which is closed as soon.
        """
        self._look_after()
        self._keeps_open = False
        self._close_idle()

    @contextmanager
    def _lend(self, engine: Engine) -> Generator[Connection]:
        self._look_after()
        try:
            with engine.connect() as db:
                yield db
        finally:
            # Asked only now that it lies in the pool again: one of the two closes it, this or
            # close(), whichever comes last.
            if not self._keeps_open:
                self._close_idle()

    def _close_idle(self) -> None:
        # Not those of Engine.dispose(): that makes another pool, and nobody would come for what is
        # given back to this one later.
        self._engine.pool.dispose()

    def _look_after(self) -> None:
        if self._pid != os.getpid():
            # They are the parent's as well: what is said in their end would end them there.
            self._pid = os.getpid()
            self._engine.dispose(close=False)


def _require_known_options(engine: Engine) -> None:
    """Refuse what stands behind the ? that the driver does not take, before it does so itself.

    :raises InvalidSettingError: then. (libpq reads more than it names, and has a word for it.)
    """
    _, given = engine.dialect.create_connect_args(engine.url)
    known = signature(engine.dialect.loaded_dbapi.connect).parameters
    if any(each.kind is Parameter.VAR_KEYWORD for each in known.values()):
        return
    if strangers := sorted({*given} - {*known}):
        value = f"an address with the option {strangers[0]!r}, which the driver does not know"
        raise InvalidSettingError("LATER_STORE", value, f"options such as {_OPTION}")


def _connect(
    dialect: Dialect, _: object, arguments: tuple[Any, ...], options: dict[str, Any]
) -> DBAPIConnection:
    """Connect; certificates that cannot be read are an error of the driver's like any other.

    PyMySQL lets that of the system through, which names no file.
    """
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        names = ", ".join(map(str, options.get("ssl", {}).values()))
        trouble = f"{names} cannot be used: {error.strerror or error}"
        raise dialect.loaded_dbapi.OperationalError(trouble) from error


def _set_up(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS)
    connection.commit()


def _require_open(connection: Any, *_: object) -> None:
    """Have another one made if the server has closed it, so that nobody asks it in vain.

    That is known here without asking. Who asks such a one would not know what has become of it.
    """
    try:
        # What it had to say, and then that it is closed.
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except Exception as error:
        raise DisconnectionError(str(error)) from error
