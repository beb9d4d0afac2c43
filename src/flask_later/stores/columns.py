"""The fields of a job record as the columns of a database, and back.

Instants are integer microseconds since 1970, UTC. Errors and progress are JSON, which also takes
the texts that UTF-8 cannot (lone surrogates in a file name, say). None is always NULL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from flask_later.core.job import (
    ErrorRecord,
    Glance,
    JobRecord,
    JobState,
    Progress,
    StopReason,
    UniqueUntil,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STATES: Mapping[str, JobState] = {each.value: each for each in JobState}
_UNTIL: Mapping[str, UniqueUntil] = {each.value: each for each in UniqueUntil}
_MAX_UNREADABLE = 2_000


def to_micros(instant: datetime) -> int:
    """Return *instant*, which must be aware, as microseconds. Exact, unlike ``timestamp()``."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    # Half the time of a timedelta of so many microseconds.
    return _EPOCH + micros * _MICROSECOND


# The tables are open to other hands. Numbers are checked by them; what else is in the way of
# reading a row must not be in the way of all that want to read past it.


def to_state(text: str) -> JobState:
    """Return the state; one that nobody here knows is left to other code, as what is parked."""
    return _STATES.get(text, JobState.PARKED)


def _to_error(text: str) -> ErrorRecord:
    try:
        return ErrorRecord(*json.loads(text))
    except (ValueError, TypeError):
        return ErrorRecord("Unreadable", text[:_MAX_UNREADABLE])


def _to_progress(text: str) -> Progress | None:
    try:
        return Progress(*json.loads(text))
    except (ValueError, TypeError):
        return None


def _to_until(text: str) -> UniqueUntil:
    return _UNTIL.get(text, UniqueUntil.FINISHED)


class _Codec(NamedTuple):
    """How a field that is neither text nor number is kept."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


#: The text of a member of an enum, at a tenth of what ``value`` takes.
_value_of: Callable[[Any], str] = attrgetter("_value_")
_INSTANT = _Codec(to_micros, from_micros)
_CODECS = {
    "state": _Codec(_value_of, to_state),
    "stop": _Codec(_value_of, {each.value: each for each in StopReason}.get),
    "error": _Codec(json.dumps, _to_error),
    "progress": _Codec(json.dumps, _to_progress),
    "created_at": _INSTANT,
    "run_at": _INSTANT,
    "started_at": _INSTANT,
    "finished_at": _INSTANT,
    "scheduled_at": _INSTANT,
    "unique_until": _Codec(_value_of, _to_until),
    "key_free_at": _INSTANT,
    "expires_at": _INSTANT,
    "progress_at": _INSTANT,
}
#: The columns that hold a record, in the order of its fields.
FIELDS = JobRecord._fields
#: How the value of a field becomes that of its column, where it is another one.
PACK: Mapping[str, Callable[[Any], Any]] = {name: codec.pack for name, codec in _CODECS.items()}
#: Those that hold what is seen at a glance.
GLANCED = Glance._fields

_Unpack = list[tuple[int, Callable[[Any], Any]]]


def _unpack_of(fields: Sequence[str]) -> _Unpack:
    """Return how to read the columns *fields*, those that hold other values, by their place."""
    return [(index, _CODECS[name].unpack) for index, name in enumerate(fields) if name in _CODECS]


_UNPACK, _UNPACK_GLANCED = _unpack_of(FIELDS), _unpack_of(GLANCED)


def packed(name: str, value: Any) -> Any:
    """Return what the column *name* holds for *value*."""
    return PACK[name](value) if value is not None and name in PACK else value


def to_record(row: Sequence[Any]) -> JobRecord:
    """Return the record whose columns :data:`FIELDS` *row* begins with."""
    return JobRecord._make(_unpacked([*row[: len(FIELDS)]], _UNPACK))


def to_glance(row: Sequence[Any]) -> Glance:
    """Return what is seen at a glance, whose columns :data:`GLANCED` are *row*."""
    return Glance._make(_unpacked([*row], _UNPACK_GLANCED))


def _unpacked(values: list[Any], unpack_at: _Unpack) -> list[Any]:
    for index, unpack in unpack_at:
        value = values[index]
        if value is not None:
            values[index] = unpack(value)
    return values
