"""The time by the database's clock, which is the same for all machines that share it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from flask_later.core.clock import Clock, SystemClock
from flask_later.stores.columns import from_micros, to_micros

#: Seconds between two looks at the database's clock.
_LOOK_EVERY = 5.0

_NOW = {
    "postgresql": text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"),
    "mysql": text("SELECT timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6))"),
}


class DatabaseClock:
    """Looks at the database's clock every few seconds, and goes on from there by the monotonic one.

    So an instant costs no round trip, nor each row a call, and it is a value that the rules of
    ``core/states.py`` can compare. It is late by half of a round trip at most, and wrong for as
    long if somebody sets the database's clock. A clock that is not the system's, as in tests, is
    taken as it is.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_real = isinstance(clock, SystemClock)
        self._ahead = 0
        self._looked_at: float | None = None

    def now(self, db: Connection) -> datetime:
        """Return the instant. *db* is asked now and then."""
        if not self._is_real:
            return self._clock.now()
        monotonic = self._clock.monotonic()
        if self._looked_at is None or monotonic - self._looked_at > _LOOK_EVERY:
            there = int(db.execute(_NOW[db.dialect.name]).scalar_one())
            monotonic = self._clock.monotonic()
            self._ahead, self._looked_at = there - int(monotonic * 1e6), monotonic
        return from_micros(int(monotonic * 1e6) + self._ahead)

    def by_the_app(self, instant: datetime, now: datetime) -> datetime:
        """Return when *instant* is on the app's clock, if it is *now* in the database."""
        if not self._is_real:
            return instant
        return from_micros(to_micros(self._clock.now()) + to_micros(instant) - to_micros(now))
