"""A job record as a row, and back.

Instants are integer microseconds since 1970, UTC. Errors and progress are JSON, which also takes
the texts that SQLite's UTF-8 cannot (lone surrogates in a file name, say).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress
from operator import is_not
from typing import Any, NamedTuple

from flask_later.core.job import (
    ErrorRecord,
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

Row = tuple[Any, ...]


def to_micros(instant: datetime) -> int:
    """Return *instant*, which must be aware, as microseconds. Exact, unlike ``timestamp()``."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


class _Codec(NamedTuple):
    """How a field that is neither text nor number is kept. None is always NULL."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def _value_of(member: JobState | StopReason | UniqueUntil) -> str:
    return member.value


# The file is open to other hands. Numbers are checked by its tables; what else is in the way of
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
}
#: The columns that hold a record, in the order of its fields.
FIELDS = JobRecord._fields
_PACK = {name: codec.pack for name, codec in _CODECS.items()}
_UNPACK = [(FIELDS.index(name), codec.unpack) for name, codec in _CODECS.items()]


class NewRow(NamedTuple):
    """A record that is to be stored: the columns that are not NULL, and what they are."""

    record: JobRecord
    names: tuple[str, ...]
    values: list[Any]


def to_row(record: JobRecord) -> NewRow:
    """Return *record* as it will be stored; done before the transaction, to keep that short."""
    is_known = [value is not None for value in record]
    names = (*compress(FIELDS, is_known), "rank")
    return NewRow(record, names, _packed(names, [*compress(record, is_known), record.rank]))


def changes(before: JobRecord, after: JobRecord) -> tuple[tuple[str, ...], list[Any]]:
    """Return the columns in which *after* is another value, and what they are then."""
    changed = [*map(is_not, before, after)]
    names = tuple(compress(FIELDS, changed))
    values = [*compress(after, changed)]
    if "run_at" in names:
        names += ("rank",)
        values.append(after.rank)
    return names, _packed(names, values)


def _packed(names: Sequence[str], values: Sequence[Any]) -> list[Any]:
    return [
        _PACK[name](value) if name in _PACK and value is not None else value
        for name, value in zip(names, values, strict=True)
    ]


def to_record(row: Sequence[Any]) -> JobRecord:
    """Return the record whose columns :data:`FIELDS` are *row*."""
    values = [*row]
    for index, unpack in _UNPACK:
        value = values[index]
        if value is not None:
            values[index] = unpack(value)
    return JobRecord._make(values)
