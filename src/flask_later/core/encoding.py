"""How a value becomes JSON: by its exact type, so that nothing comes back as something else."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from functools import cached_property
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, cast
from uuid import UUID

from .advice import ZONE_ADVICE, is_model
from .naming import class_name, find_class

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

#: A list in a list in a list, as deep as this.
MAX_DEPTH = 64

# Python refuses to turn longer numbers into decimal text, and back.
_LARGE = 2**2000
# JSON reads these two characters, which only broken text holds, as one.
_SURROGATE_PAIR = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")


class Refusal(Exception):  # noqa: N818 - becomes a NotSerializableError
    """A value cannot be stored; collects the way to it while it passes outwards."""

    def __init__(self, value: object, advice: str | None = None) -> None:
        super().__init__()
        self.value = value
        self.advice = advice
        self.path = ""

    def inside(self, container: object, step: str) -> Refusal:
        self.path = step + self.path
        return self


class _TooDeep(Refusal):
    """The nesting has no end in sight: what matters is where it begins."""

    def inside(self, container: object, step: str) -> Refusal:
        self.value = container
        return self


def encode(value: object, depth: int) -> Json:
    return ENCODERS.get(type(value), _encode_other)(value, depth)


def _encode_plain(value: bool | None, _depth: int) -> Json:
    return value


def _encode_int(value: int, _depth: int) -> Json:
    return value if -_LARGE < value < _LARGE else {"$int": hex(value)}


def _encode_float(value: float, _depth: int) -> Json:
    return value if isfinite(value) else {"$float": str(value)}


def _encode_str(value: str, _depth: int) -> Json:
    if value.isascii() or not _SURROGATE_PAIR.search(value):
        return value
    return {"$str": _pieces(value)}


def _pieces(text: str) -> list[Json]:
    return [*_SURROGATE_PAIR.split(text)]


def _encode_list(value: list[object], depth: int) -> Json:
    return _encode_items(value, depth)


def _encode_collection(value: Iterable[object], depth: int) -> Json:
    return {f"${type(value).__name__}": _encode_items(value, depth)}


def _encode_items(items: Iterable[object], depth: int) -> list[Json]:
    _check_depth(items, depth)
    encoded: list[Json] = []
    try:
        for item in items:
            encoded.append(ENCODERS.get(type(item), _encode_other)(item, depth + 1))  # noqa: PERF401
    except Refusal as refusal:
        # The items of a set have no place.
        step = f"[{len(encoded)}]" if isinstance(items, Sequence) else "[...]"
        raise refusal.inside(items, step) from None
    return encoded


def _encode_dict(value: dict[Any, object], depth: int) -> Json:
    _check_depth(value, depth)
    if not has_plain_keys(value):
        return _encode_pairs(value, depth)
    encoded: dict[str, Json] = {}
    key = ""
    try:
        for key, item in value.items():
            encoded[key] = ENCODERS.get(type(item), _encode_other)(item, depth + 1)
    except Refusal as refusal:
        raise refusal.inside(value, _step(key)) from None
    return encoded


def has_plain_keys(value: Mapping[Any, object]) -> bool:
    for key in value:
        if type(key) is not str or key[:1] == "$":
            return False
        if not key.isascii() and _SURROGATE_PAIR.search(key):
            return False
    return True


def _encode_pairs(value: dict[Any, object], depth: int) -> Json:
    keys = _encode_keys(value, depth)
    pairs: list[Json] = []
    try:
        for key, item in zip(keys, value.values(), strict=True):
            pairs.append([key, encode(item, depth + 1)])
    except Refusal as refusal:
        raise refusal.inside(value, _step([*value][len(pairs)])) from None
    return {"$dict": pairs}


def _encode_keys(value: dict[Any, object], depth: int) -> list[Json]:
    try:
        return [encode(key, depth + 1) for key in value]
    except Refusal as refusal:
        raise refusal.inside(value, ".keys()[...]") from None


def _step(key: object) -> str:
    # A key is shown so that the place can be found. One that is no short name may be a secret.
    if (type(key) is int and -_LARGE < key < _LARGE) or (type(key) is str and len(key) <= 40):
        return f"[{key!r}]"
    return f"[<{type(key).__name__}>]"


def _check_depth(container: object, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise _TooDeep(container, f"It is more than {MAX_DEPTH} levels deep, or contains itself.")


def _encode_bytes(value: bytes, _depth: int) -> Json:
    return {"$bytes": b64encode(value).decode("ascii")}


def _encode_as_text(value: Decimal | UUID | date, _depth: int) -> Json:
    return {f"${type(value).__name__.lower()}": str(value)}


def _encode_path(value: Path, _depth: int) -> Json:
    return {"$path": _pieces(str(value))}


def _encode_timedelta(value: timedelta, _depth: int) -> Json:
    return {"$timedelta": [value.days, value.seconds, value.microseconds]}


def _encode_clock(value: datetime | time, _depth: int) -> Json:
    tag = f"${type(value).__name__}"
    if value.fold == 0 and (value.tzinfo is None or value.tzinfo is UTC):
        return {tag: value.isoformat()}
    # isoformat() tells neither the fold nor the name of a zone.
    return {tag: [value.replace(tzinfo=None).isoformat(), _encode_zone(value), value.fold]}


def _encode_zone(value: datetime | time) -> Json:
    zone = value.tzinfo
    if zone is None:
        return None
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        unnamed = name == timezone(offset).tzname(None)
        return [offset.days, offset.seconds, offset.microseconds, None if unnamed else name]
    # Not for every process that has tasks: it brings sysconfig along, 0.3 MB.
    from zoneinfo import ZoneInfo

    if type(zone) is ZoneInfo and type(zone.key) is str:
        return zone.key
    raise Refusal(zone, ZONE_ADVICE).inside(value, ".tzinfo")


def _encode_other(value: object, depth: int) -> Json:
    # type() in place of isinstance(): a proxy claims to be what it stands for.
    cls = type(value)
    if issubclass(cls, Enum):
        return _encode_enum(cast("Enum", value), cls)
    if is_plain_dataclass(cls):
        return _encode_dataclass(value, cls, depth)
    raise Refusal(value)


def _encode_enum(member: Enum, cls: type[Enum]) -> Json:
    name = _name_to_find(member)
    if cls.__members__.get(member.name) is member:
        return {"$enum": [name, member.name]}
    if issubclass(cls, Flag) and type(member.value) is int:
        return {"$flag": [name, hex(member.value)]}
    raise Refusal(member, f"It is not among the members of {cls.__name__}.")


def _encode_dataclass(value: object, cls: type[DataclassInstance], depth: int) -> Json:
    _check_depth(value, depth)
    name = _name_to_find(value)
    names = [field.name for field in fields(cls)]
    _check_attributes(value, names)
    encoded: dict[str, Json] = {}
    field = ""
    try:
        for field in names:
            encoded[field] = encode(getattr(value, field), depth + 1)
    except Refusal as refusal:
        raise refusal.inside(value, f".{field}") from None
    return {"$dataclass": [name, encoded]}


def _name_to_find(value: object) -> str:
    cls = type(value)
    name = class_name(cls)
    if "<locals>" in name:
        raise Refusal(value, f"Move the class {cls.__name__} out of its function, to a module.")
    if find_class(name) is not cls:
        raise Refusal(
            value,
            f"Its class is not what {name!r} is. Define it at the top of a module, under its own "
            f"name, once; a module that is run and imported too exists twice.",
        )
    return name


def is_plain_dataclass(cls: type) -> TypeGuard[type[DataclassInstance]]:
    """Say whether fields are all there is: not in a model, nor in a subclass that adds some."""
    return (
        "__dataclass_fields__" in vars(cls)
        and cast("object", cls.__new__) is object.__new__
        and not is_model(cls)
    )


def _check_attributes(value: object, declared: list[str]) -> None:
    for name in declared:
        if not hasattr(value, name):
            raise Refusal(value, f"Its field {name!r} was never set.")
    for name in getattr(value, "__dict__", {}):
        # What is computed from the fields will be again; typing leaves a trace of Box[int](1).
        derived = isinstance(getattr(type(value), name, None), cached_property)
        if name not in declared and not derived and name != "__orig_class__":
            raise Refusal(
                value, f"Its attribute {name!r} is no field. Declare it: field(init=False)."
            )


ENCODERS: dict[type, Callable[[Any, int], Json]] = {
    NoneType: _encode_plain,
    bool: _encode_plain,
    int: _encode_int,
    float: _encode_float,
    str: _encode_str,
    list: _encode_list,
    dict: _encode_dict,
    tuple: _encode_collection,
    set: _encode_collection,
    frozenset: _encode_collection,
    bytes: _encode_bytes,
    datetime: _encode_clock,
    time: _encode_clock,
    date: _encode_as_text,
    timedelta: _encode_timedelta,
    Decimal: _encode_as_text,
    UUID: _encode_as_text,
    type(Path()): _encode_path,
}
