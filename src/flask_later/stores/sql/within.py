"""Adding jobs in a transaction of the app's own, which knows nothing of us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, event, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session

from flask_later.core.job import JobRecord
from flask_later.core.store import Added
from flask_later.errors import LaterError, StoreError, UnsupportedError
from flask_later.errors.words import with_article
from flask_later.logs import Log

from . import tally
from .adding import Adding
from .clock import DatabaseClock
from .jobs import Jobs
from .tables import meta
from .trouble import reason_of

_logger = Log(__name__)

_IDENTITY = select(meta.c.value).where(meta.c.key == "identity")


class Guests:
    """Adds jobs within transactions of others, and hears when those are over."""

    def __init__(self, adding: Adding, clock: DatabaseClock, place: str) -> None:
        self._adding = adding
        self._clock = clock
        self._place = place
        #: The engines that are known to lead to the store's database.
        self._known: WeakSet[Engine] = WeakSet()
        self._lock = Lock()
        #: What to do once a connection is given back, which is after its transaction.
        self._afterwards: WeakKeyDictionary[Any, list[Callable[[], None]]] = WeakKeyDictionary()

    def add(
        self,
        records: Sequence[JobRecord],
        transaction: object,
        identity: str,
        over: Callable[[], None],
    ) -> list[Added]:
        """Store *records* in *transaction*, and call *over* when that has ended, however it did.

        What fails here is undone, and the transaction may go on.

        :raises UnsupportedError: if it is none, or one of another database.
        """
        db = _connection_of(transaction)
        try:
            self._require_ours(db, identity)
            with db.begin_nested():
                jobs = Jobs(db, self._clock.now(db))
                added = self._adding.add(jobs, records, last=False)
                tally.append(db, jobs.more_pending)
        except SQLAlchemyError as error:
            raise StoreError(f"{self._place}: {reason_of(error)}") from error
        driver = db.connection.dbapi_connection
        with self._lock:
            self._afterwards.setdefault(driver, []).append(over)
        return added

    def _require_ours(self, db: Connection, identity: str) -> None:
        if db.engine in self._known:
            return
        there = db.execute(_IDENTITY).scalar() if inspect(db).has_table(meta.name) else None
        if there != identity:
            raise UnsupportedError(
                "within=",
                f"its transaction is in another database than the jobs, which are in {self._place}",
                "Set LATER_STORE to the database of the app.",
            )
        with self._lock:
            if db.engine not in self._known:
                event.listen(db.engine, "checkin", self._given_back)
                self._known.add(db.engine)

    def _given_back(self, driver: Any, _: object) -> None:
        with self._lock:
            calls = [] if driver is None else self._afterwards.pop(driver, [])
        for call in calls:
            try:
                call()
            except LaterError as error:
                # They are stored all the same, and somebody will look.
                _logger.warning("jobs could not be announced after their commit: %s", error)


def _connection_of(transaction: object) -> Connection:
    current = _in_scope(transaction)
    if isinstance(current, Session):
        return current.connection()
    if isinstance(current, Connection):
        return current
    raise UnsupportedError(
        "within=",
        f"{with_article(type(current).__qualname__)} has no transaction to store jobs in",
        "Give a SQLAlchemy session or connection: within=db.session.",
    )


def _in_scope(transaction: object) -> object:
    """Return the session for which something such as Flask-SQLAlchemy's ``db.session`` stands."""
    if isinstance(transaction, scoped_session):
        return cast(Any, transaction)()
    return transaction
