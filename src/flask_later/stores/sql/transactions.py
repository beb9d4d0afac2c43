"""Transactions, and how they are tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from flask_later.errors import StoreError

from .clock import DatabaseClock
from .connections import Connections
from .jobs import Jobs
from .trouble import DriverError, Trouble, kind_of, translate

T = TypeVar("T")

#: Times that a transaction is tried which gets into the way of others.
_MOST_TRIES = 20
#: Seconds between two tries, the first and the longest: after a conflict, and without a database.
_CONFLICT_PAUSES = (0.002, 0.1)
_GONE_PAUSES = (0.05, 0.5)
#: Seconds for which a database that is gone is waited for: a restart, or the next of a cluster.
_GONE_FOR = 2.0


class Transactions:
    """Runs operations, each in one transaction, which all or nothing is left of.

    An operation may be called again: its transaction was rolled back, or nobody knows, because the
    connection broke off in the commit. So it has no other effect than on its transaction, and
    finds out what is done already.

    :param committed: is called with the jobs of a transaction after its commit.
    """

    def __init__(
        self,
        connections: Connections,
        clock: DatabaseClock,
        place: str,
        committed: Callable[[Jobs], None],
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._place = place
        self._committed = committed

    def write(
        self, operation: Callable[[Jobs], T], at_once: Callable[[Jobs], T | None] | None = None
    ) -> T:
        """Run *operation* and return its answer once that is committed.

        :param at_once: is tried before, once: the same in a single statement. Returns None where
            that does not do. Only on PostgreSQL.
        :raises StoreError: if that cannot be. What *operation* raises passes through.
        """
        attempt = _Attempt(self._place)
        while True:
            try:
                if at_once is not None and self._connections.is_postgresql:
                    single, at_once = at_once, None
                    answer = self._at_once(single, attempt)
                    if answer is not None:
                        return answer
                return self._transact(operation, attempt)
            except (SQLAlchemyError, DriverError) as error:
                attempt.pause_after(error)

    def read(self, operation: Callable[[Jobs], T]) -> T:
        """Run *operation*, which only reads; each of its statements sees the latest state.

        :raises StoreError: if that cannot be.
        """
        attempt = _Attempt(self._place)
        while True:
            try:
                with self._connections.reading() as db:
                    return operation(self._jobs(db, attempt))
            except SQLAlchemyError as error:
                attempt.pause_after(error)

    def _at_once(self, operation: Callable[[Jobs], T | None], attempt: _Attempt) -> T | None:
        with self._connections.reading() as db:
            jobs = self._jobs(db, attempt)
            attempt.is_committing = True
            answer = operation(jobs)
            attempt.is_committing = False
        self._committed(jobs)
        return answer

    def _transact(self, operation: Callable[[Jobs], T], attempt: _Attempt) -> T:
        with self._connections.writing() as db:
            jobs = self._jobs(db, attempt)
            answer = operation(jobs)
            jobs.close()
            attempt.is_committing = True
            db.commit()
        self._committed(jobs)
        return answer

    def _jobs(self, db: Connection, attempt: _Attempt) -> Jobs:
        return Jobs(db, self._clock.now(db), is_repeated=attempt.number > 1)


class _Attempt:
    """How often an operation has been tried, and whether it will be again."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._began = time.monotonic()
        self._gone_since: float | None = None
        self.number = 1
        self.is_committing = False
        self._is_uncertain = False

    def pause_after(self, error: SQLAlchemyError | DriverError) -> None:
        """Sleep before the next try.

        :raises StoreError: if there is to be none.
        """
        kind = kind_of(error)
        self._is_uncertain |= self.is_committing and kind is Trouble.GONE
        self.is_committing = False
        if not self._may_go_on(kind):
            raise self._translated(error) from error
        first, longest = _GONE_PAUSES if kind is Trouble.GONE else _CONFLICT_PAUSES
        pause = min(first * 2.0 ** (self.number - 1), longest)
        self.number += 1
        time.sleep(random.uniform(pause / 2, pause))

    def _may_go_on(self, kind: Trouble) -> bool:
        if kind is Trouble.CONFLICT:
            return self.number < _MOST_TRIES
        if kind is not Trouble.GONE:
            return False
        now = time.monotonic()
        if self._gone_since is None:
            self._gone_since = now
        return now - self._gone_since < _GONE_FOR

    def _translated(self, error: SQLAlchemyError | DriverError) -> StoreError:
        waited = time.monotonic() - self._began
        return translate(error, self._place, waited, uncertain=self._is_uncertain)
