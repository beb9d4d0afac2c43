"""How JSON becomes a value again. No module is imported for it, and no constructor called."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from json import JSONDecoder
from math import inf, nan
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from flask_later.errors import MalformedPayloadError, UnknownClassError

from .encoding import MAX_DEPTH, Json, is_plain_dataclass
from .naming import find_class

#: With it begins a text that only says why there is none. No JSON does.
UNREADABLE = "@"

_T = TypeVar("_T")


def unreadable(reason: str) -> str:
    """Return a text for the place of one that is lost: reading it raises *reason*."""
    return UNREADABLE + reason


def read(text: str, depth: int) -> object:
    """Return the value that *text* holds, which lies *depth* levels deep.

    :raises MalformedPayloadError: Whatever is wrong with it.
    """
    try:
        value: Json = _read_json(text)
    except RecursionError:
        raise MalformedPayloadError("it is nested too deeply") from None
    except ValueError as error:
        if text[:1] == UNREADABLE:
            raise MalformedPayloadError(text[1:]) from None
        raise MalformedPayloadError(f"it is not JSON ({error})") from None
    if '"$' in text:
        return _decode(value, depth)
    # What is that deep is longer.
    if len(text) > MAX_DEPTH and text.count("[") + text.count("{") > MAX_DEPTH:
        _check_nesting(value, depth)
    return value


def _check_nesting(value: Json, depth: int) -> None:
    level = [value]
    while level := [inner for outer in level for inner in _containers(outer)]:
        depth += 1
        if depth >= MAX_DEPTH:
            raise MalformedPayloadError(f"it is more than {MAX_DEPTH} levels deep")


def _containers(outer: Json) -> list[Json]:
    inner = outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ()
    return [value for value in inner if isinstance(value, (dict, list))]


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


_decoder = JSONDecoder(parse_constant=_refuse_constant)


def _read_json(text: str) -> Json:
    # decode() looks for white space by regular expressions, which takes as long as a short text.
    text = text.strip(" \t\r\n")
    value: Json
    value, end = _decoder.raw_decode(text)
    return value if end == len(text) else _decoder.decode(text)  # which says what is wrong


def _decode(value: Json, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise MalformedPayloadError(f"it is more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        return _decode_items(value, depth)
    if isinstance(value, dict):
        return _decode_object(value, depth)
    return value


def _decode_object(value: dict[str, Json], depth: int) -> object:
    for key in value:
        if key[:1] == "$":
            return _decode_tagged(value, depth)
    return {key: _decode(item, depth + 1) for key, item in value.items()}


def _decode_items(body: Json, depth: int) -> list[object]:
    return [_decode(item, depth + 1) for item in _items(body)]


def _decode_tagged(value: dict[str, Json], depth: int) -> object:
    tag, body = next(iter(value.items()))
    decode = DECODERS.get(tag)
    if decode is None or len(value) != 1:
        raise MalformedPayloadError(f"this version does not know its tag {tag[:40]!r}")
    try:
        return decode(body, depth)
    except (MalformedPayloadError, MemoryError):
        raise
    except Exception as error:
        # Anything can go wrong: the parsers of a dozen types, and a __hash__ of the application.
        raise MalformedPayloadError(f"its {tag} does not hold one") from error


def _items(body: Json) -> list[Json]:
    if not isinstance(body, list):
        raise TypeError("expected a list")
    return body


def _text(body: Json) -> str:
    if not isinstance(body, str):
        raise TypeError("expected a text")
    return body


def _whole(body: Json) -> int:
    if type(body) is not int:
        raise TypeError("expected a whole number")
    return body


def _pair(body: Json) -> tuple[Json, Json]:
    first, second = _items(body)
    return first, second


def _joined(body: Json) -> str:
    return "".join(map(_text, _items(body)))


def _decode_dict(body: Json, depth: int) -> object:
    pairs = map(_pair, _items(body))
    return {_decode(key, depth + 1): _decode(item, depth + 1) for key, item in pairs}


def _decode_clock(kind: type[datetime] | type[time], body: Json) -> object:
    if isinstance(body, str):
        return kind.fromisoformat(body)
    reading, zone, fold = _items(body)
    value = kind.fromisoformat(_text(reading))
    return value.replace(tzinfo=_decode_zone(zone), fold=_whole(fold))


def _decode_zone(body: Json) -> tzinfo | None:
    if body is None:
        return None
    if isinstance(body, str):
        # Late, as in encoding.py.
        from zoneinfo import ZoneInfo

        return ZoneInfo(body)
    *offset, name = _items(body)
    since_utc = timedelta(*map(_whole, offset))
    return timezone(since_utc) if name is None else timezone(since_utc, _text(name))


def _decode_enum(body: Json, _depth: int) -> object:
    name, member = _pair(body)
    members = _find(name, Enum).__members__
    if _text(member) not in members:
        raise UnknownClassError(f"the enum {name!r} has no member {member!r} here")
    return members[_text(member)]


def _decode_flag(body: Json, _depth: int) -> object:
    name, bits = _pair(body)
    cls, value = _find(name, Flag), int(_text(bits), 16)
    member = cls(value)
    # What a class does with bits it does not know is its own choice: it may drop them.
    if type(member) is not cls or member.value != value:
        raise ValueError("unknown bits")
    return member


def _decode_dataclass(body: Json, depth: int) -> object:
    name, stored = _pair(body)
    cls = _find(name, object)
    if not is_plain_dataclass(cls) or not isinstance(stored, dict):
        raise TypeError("expected a dataclass")
    # A field that came with a later version has its default. One that is gone had a meaning.
    defaults = {field.name: field.default for field in fields(cls)}
    values = {**defaults, **{field: _decode(item, depth + 1) for field, item in stored.items()}}
    if values.keys() != defaults.keys() or any(value is MISSING for value in values.values()):
        odd = ", ".join(sorted(values.keys() ^ defaults.keys())) or ", ".join(
            field for field, value in values.items() if value is MISSING
        )
        raise UnknownClassError(f"the dataclass {name!r} has other fields than were stored: {odd}")
    instance = object.__new__(cls)
    for field, value in values.items():
        object.__setattr__(instance, field, value)
    return instance


def _find(name: Json, kind: type[_T]) -> type[_T]:
    cls = find_class(_text(name))
    if cls is None:
        raise UnknownClassError(
            f"no class {name!r} is loaded here; import its module where the tasks are defined"
        )
    if not issubclass(cls, kind):
        raise TypeError(f"expected {kind.__name__}")
    return cls


DECODERS: dict[str, Callable[[Json, int], object]] = {
    "$int": lambda body, _: int(_text(body), 16),
    "$float": lambda body, _: {"nan": nan, "inf": inf, "-inf": -inf}[_text(body)],
    "$str": lambda body, _: _joined(body),
    "$bytes": lambda body, _: b64decode(_text(body), validate=True),
    "$tuple": lambda body, depth: tuple(_decode_items(body, depth)),
    "$set": lambda body, depth: set(_decode_items(body, depth)),
    "$frozenset": lambda body, depth: frozenset(_decode_items(body, depth)),
    "$dict": _decode_dict,
    "$datetime": lambda body, _: _decode_clock(datetime, body),
    "$date": lambda body, _: date.fromisoformat(_text(body)),
    "$time": lambda body, _: _decode_clock(time, body),
    "$timedelta": lambda body, _: timedelta(*map(_whole, _items(body))),
    "$decimal": lambda body, _: Decimal(_text(body)),
    "$uuid": lambda body, _: UUID(_text(body)),
    "$path": lambda body, _: Path(_joined(body)),
    "$enum": _decode_enum,
    "$flag": _decode_flag,
    "$dataclass": _decode_dataclass,
}
