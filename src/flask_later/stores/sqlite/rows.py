"""A job record on its way into the table: only the columns that a job really has."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import compress
from operator import is_not
from typing import Any, NamedTuple

from flask_later.core.job import JobRecord
from flask_later.stores.columns import FIELDS, PACK, packed

Row = tuple[Any, ...]


class NewRow(NamedTuple):
    """A record that is to be stored: the columns that are not NULL, and what they are."""

    record: JobRecord
    names: tuple[str, ...]
    values: list[Any]


def to_row(record: JobRecord) -> NewRow:
    """Return *record* as it will be stored; done before the transaction, to keep that short."""
    is_known = tuple([value is not None for value in record])
    names, packs = _columns(is_known)
    values = [*compress(record, is_known), record.rank]
    for index, pack in packs:
        values[index] = pack(values[index])
    return NewRow(record, names, values)


@cache
def _columns(
    is_known: tuple[bool, ...],
) -> tuple[tuple[str, ...], list[tuple[int, Callable[[Any], Any]]]]:
    """Return the columns of a row with those fields, and how to pack its values."""
    names = (*compress(FIELDS, is_known), "rank")
    return names, [(names.index(name), pack) for name, pack in PACK.items() if name in names]


def changes(before: JobRecord, after: JobRecord) -> tuple[tuple[str, ...], list[Any]]:
    """Return the columns in which *after* is another value, and what they are then."""
    changed = [*map(is_not, before, after)]
    names = tuple(compress(FIELDS, changed))
    values = [*map(packed, names, compress(after, changed))]
    if "run_at" in names:
        names += ("rank",)
        values.append(after.rank)
    return names, values
