"""What the errors of the databases mean to those who use a store."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from flask_later.errors import (
    StoreBusyError,
    StoreDeniedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

_LONGEST_REASON = 300


class DriverError(Exception):
    """What the driver has said that was asked past SQLAlchemy."""

    def __init__(self, orig: Exception) -> None:
        super().__init__(str(orig))
        self.orig = orig


class Trouble(Enum):
    #: Others did the same at the same time: the next try will do.
    CONFLICT = auto()
    #: Somebody holds a lock for too long, or all connections are in use.
    BUSY = auto()
    #: The connection broke off, or none can be made.
    GONE = auto()
    DENIED = auto()
    FULL = auto()
    READ_ONLY = auto()
    OTHER = auto()


#: By the SQLSTATE of PostgreSQL, or the class that it begins with.
_STATES = {
    "40001": Trouble.CONFLICT,
    "40P01": Trouble.CONFLICT,
    "23505": Trouble.CONFLICT,
    "55P03": Trouble.BUSY,
    "25P03": Trouble.GONE,
    "53300": Trouble.GONE,
    "57P01": Trouble.GONE,
    "57P02": Trouble.GONE,
    "57P03": Trouble.GONE,
    "08": Trouble.GONE,
    "28": Trouble.DENIED,
    "3D000": Trouble.DENIED,
    "42501": Trouble.DENIED,
    "53100": Trouble.FULL,
    "25006": Trouble.READ_ONLY,
}
#: By the error number of MariaDB and MySQL.
_NUMBERS = {
    **dict.fromkeys((1213, 1062, 1020), Trouble.CONFLICT),
    **dict.fromkeys((1205,), Trouble.BUSY),
    **dict.fromkeys((1040, 1053, 1927, 2002, 2003, 2006, 2013, 2055, 4031), Trouble.GONE),
    **dict.fromkeys((1044, 1045, 1049, 1142, 1227, 1698), Trouble.DENIED),
    **dict.fromkeys((1021, 1114), Trouble.FULL),
    **dict.fromkeys((1290, 1792, 1836), Trouble.READ_ONLY),
}
#: What a server says that will let us in later.
_NOT_NOW = ("starting up", "shutting down", "recovery", "too many", "connection slots")


def kind_of(error: SQLAlchemyError | DriverError) -> Trouble:
    """Return what *error* is about."""
    if isinstance(error, DriverError):
        # Without a code the connection broke off.
        return _told_by(error.orig) or Trouble.GONE
    if isinstance(error, PoolTimeoutError):
        return Trouble.BUSY
    if not isinstance(error, DBAPIError):
        return Trouble.OTHER
    told = _told_by(error.orig)
    if told is not None and told is not Trouble.OTHER:
        return told
    return Trouble.GONE if error.connection_invalidated else told or _at_connecting(error)


def _told_by(cause: Any) -> Trouble | None:
    """Return what the code of the driver's error says; None if it has none."""
    args: tuple[Any, ...] = getattr(cause, "args", ())
    if args and isinstance(args[0], int):
        # A SQLSTATE beside it says less.
        return _NUMBERS.get(args[0], Trouble.OTHER)
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state is None:
        return None
    return _STATES.get(state) or _STATES.get(state[:2], Trouble.OTHER)


def _at_connecting(error: DBAPIError) -> Trouble:
    """Judge by the text: libpq has no code for what went wrong before there was a connection."""
    if type(error).__name__ != "OperationalError":
        return Trouble.OTHER
    text = str(error.orig)
    refused = "FATAL" in text and not any(each in text for each in _NOT_NOW)
    return Trouble.DENIED if refused else Trouble.GONE


def translate(
    error: SQLAlchemyError | DriverError, place: str, waited: float, *, uncertain: bool
) -> StoreError:
    """Return what to raise for *error*.

    :param waited: seconds since the first try.
    :param uncertain: whether the transaction may have been committed.
    """
    reason = reason_of(error)
    match kind_of(error):
        case Trouble.CONFLICT | Trouble.BUSY:
            return StoreBusyError(waited)
        case Trouble.GONE:
            return StoreUnavailableError(place, reason, uncertain)
        case Trouble.DENIED:
            return StoreDeniedError(place, reason)
        case Trouble.FULL:
            return StoreFullError(place, reason)
        case Trouble.READ_ONLY:
            return StoreReadOnlyError(place)
        case Trouble.OTHER:
            return StoreError(f"{place}: {reason}")


def reason_of(error: SQLAlchemyError | DriverError) -> str:
    """Return what the driver says, in a line. Never the statement, whose values are arguments."""
    cause: Any = error.orig if isinstance(error, DBAPIError | DriverError) else error
    args: tuple[Any, ...] = getattr(cause, "args", ())
    text = args[1] if len(args) > 1 and isinstance(args[0], int) else cause
    # PostgreSQL puts the row that it complains about behind "DETAIL:".
    lines = [line.strip(" \t-") for line in str(text).partition("DETAIL:")[0].splitlines()]
    return "; ".join(filter(None, lines))[:_LONGEST_REASON] or type(cause).__name__
