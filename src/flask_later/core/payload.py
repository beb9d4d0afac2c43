"""The JSON round trip of arguments and results, the same on every store.

What comes back is equal to what went in, and of the same type; what would come back changed is
refused. Plain values are plain JSON. Anything else is an object with one key, its tag::

    {"$datetime": "2026-11-21T08:00:00+00:00"}    {"$tuple": [1, 2]}    {"$dict": [[1, "one"]]}

Reading never imports a module and never calls a constructor of the application.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from functools import cached_property, partial
from io import IOBase
from json import JSONDecoder, JSONEncoder
from math import inf, isfinite, nan
from pathlib import Path
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType, NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard, TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from flask_later.errors import MalformedPayloadError, NotSerializableError, PayloadTooLargeError

from .naming import class_name, find_class

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

#: A list in a list in a list, as deep as this.
MAX_DEPTH = 64

# Python refuses to turn longer numbers into decimal text, and back.
_LARGE = 2**2000
# JSON reads these two characters, which only broken text holds, as one.
_SURROGATE_PAIR = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")


def dumps(value: object, *, where: str = "value", max_bytes: int | None = None) -> str:
    """Return *value* as ASCII text; *where* names it in errors.

    :raises NotSerializableError: It, or something in it, would not come back as it is.
    :raises PayloadTooLargeError: The text is longer than *max_bytes*.
    """
    try:
        encoded = _encode(value, 0)
    except _Refusal as refusal:
        raise refusal.error(where, None) from None
    return _written(encoded, where, max_bytes)


def loads(text: str) -> object:
    """Return the value that :func:`dumps` was given.

    :raises MalformedPayloadError: Whatever else is wrong with *text*.
    """
    return _read(text, 0)


def dump_call(
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    task: str,
    names: Sequence[str],
    max_bytes: int | None = None,
) -> str:
    """Return the arguments of a call as ASCII text, ``[[args...], {kwargs...}]``.

    *task* and *names*, those of the positional parameters, appear in errors only.

    :raises NotSerializableError: An argument would not come back as it is.
    :raises PayloadTooLargeError: The text is longer than *max_bytes*.
    """
    positional: list[Json] = []
    named: dict[str, Json] = {}
    name: str | None = None
    try:
        # Not in one go: after a refusal the length tells where it was.
        for value in args:
            positional.append(_ENCODERS.get(type(value), _encode_other)(value, 0))  # noqa: PERF401
        for name, value in kwargs.items():
            named[name] = _ENCODERS.get(type(value), _encode_other)(value, 0)
    except _Refusal as refusal:
        place = len(positional) if name is None else name
        raise refusal.error(_argument(place, names), task) from None
    if not _has_plain_keys(named):
        named = {"$dict": [[_encode(name, 0), value] for name, value in named.items()]}
    return _written([positional, named], f"The call of {task}", max_bytes)


def load_call(text: str) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the arguments that :func:`dump_call` was given.

    :raises MalformedPayloadError: Whatever else is wrong with *text*.
    """
    call = _read(text, -2)  # so that an argument may be as deep as a result
    if not _is_call(call):
        raise MalformedPayloadError("it does not hold the arguments of a call")
    args, kwargs = call
    return tuple(args), kwargs


def _is_call(call: object) -> TypeGuard[tuple[list[object], dict[str, object]]]:
    if type(call) is not list or len(parts := cast("list[object]", call)) != 2:
        return False
    args, kwargs = parts
    if type(args) is not list or type(kwargs) is not dict:
        return False
    return not kwargs or all(type(name) is str for name in cast("dict[object, object]", kwargs))


def _argument(place: int | str, names: Sequence[str]) -> str:
    if isinstance(place, str):
        return f"argument {place!r}"
    return f"argument {names[place]!r}" if place < len(names) else f"argument {place + 1}"


# Writing


class _Refusal(Exception):  # noqa: N818 - never leaves this module
    """A value cannot be stored; collects the way to it while it passes outwards."""

    def __init__(self, value: object, hint: str | None = None) -> None:
        super().__init__()
        self.value = value
        self.hint = hint
        self.path = ""

    def inside(self, container: object, step: str) -> _Refusal:
        self.path = step + self.path
        return self

    def error(self, where: str, task: str | None) -> NotSerializableError:
        hint = self.hint or _hint_for(type(self.value), task)
        return NotSerializableError(where + self.path, type(self.value).__name__, hint)


class _TooDeep(_Refusal):
    """The nesting has no end in sight: what matters is where it begins."""

    def inside(self, container: object, step: str) -> _Refusal:
        self.value = container
        return self


def _written(encoded: Json, what: str, max_bytes: int | None) -> str:
    text = _write_json(encoded)
    if max_bytes is not None and len(text) > max_bytes:
        raise PayloadTooLargeError(what, len(text), max_bytes)
    return text


_write_json = JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode


def _encode(value: object, depth: int) -> Json:
    return _ENCODERS.get(type(value), _encode_other)(value, depth)


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
            encoded.append(_ENCODERS.get(type(item), _encode_other)(item, depth + 1))  # noqa: PERF401
    except _Refusal as refusal:
        # The items of a set have no place.
        step = f"[{len(encoded)}]" if isinstance(items, Sequence) else "[...]"
        raise refusal.inside(items, step) from None
    return encoded


def _encode_dict(value: dict[Any, object], depth: int) -> Json:
    _check_depth(value, depth)
    if not _has_plain_keys(value):
        return _encode_pairs(value, depth)
    encoded: dict[str, Json] = {}
    key = ""
    try:
        for key, item in value.items():
            encoded[key] = _ENCODERS.get(type(item), _encode_other)(item, depth + 1)
    except _Refusal as refusal:
        raise refusal.inside(value, _step(key)) from None
    return encoded


def _has_plain_keys(value: Mapping[Any, object]) -> bool:
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
            pairs.append([key, _encode(item, depth + 1)])
    except _Refusal as refusal:
        raise refusal.inside(value, _step([*value][len(pairs)])) from None
    return {"$dict": pairs}


def _encode_keys(value: dict[Any, object], depth: int) -> list[Json]:
    try:
        return [_encode(key, depth + 1) for key in value]
    except _Refusal as refusal:
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
    if type(zone) is ZoneInfo and type(zone.key) is str:
        return zone.key
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        unnamed = name == timezone(offset).tzname(None)
        return [offset.days, offset.seconds, offset.microseconds, None if unnamed else name]
    raise _Refusal(zone, _ZONE_HINT).inside(value, ".tzinfo")


def _encode_other(value: object, depth: int) -> Json:
    # type() in place of isinstance(): a proxy claims to be what it stands for.
    cls = type(value)
    if issubclass(cls, Enum):
        return _encode_enum(cast("Enum", value), cls)
    if _is_plain_dataclass(cls):
        return _encode_dataclass(value, cls, depth)
    raise _Refusal(value)


def _encode_enum(member: Enum, cls: type[Enum]) -> Json:
    name = _name_to_find(member)
    if cls.__members__.get(member.name) is member:
        return {"$enum": [name, member.name]}
    if issubclass(cls, Flag) and type(member.value) is int:
        return {"$flag": [name, hex(member.value)]}
    raise _Refusal(member, f"It is not among the members of {cls.__name__}.")


def _encode_dataclass(value: object, cls: type[DataclassInstance], depth: int) -> Json:
    _check_depth(value, depth)
    name = _name_to_find(value)
    names = [field.name for field in fields(cls)]
    _check_attributes(value, names)
    encoded: dict[str, Json] = {}
    field = ""
    try:
        for field in names:
            encoded[field] = _encode(getattr(value, field), depth + 1)
    except _Refusal as refusal:
        raise refusal.inside(value, f".{field}") from None
    return {"$dataclass": [name, encoded]}


def _name_to_find(value: object) -> str:
    cls = type(value)
    name = class_name(cls)
    if "<locals>" in name:
        raise _Refusal(value, f"Move the class {cls.__name__} out of its function, to a module.")
    if find_class(name) is not cls:
        raise _Refusal(
            value,
            f"Its class is not what {name!r} is. Define it at the top of a module, under its own "
            f"name, once; a module that is run and imported too exists twice.",
        )
    return name


def _is_plain_dataclass(cls: type) -> TypeGuard[type[DataclassInstance]]:
    """Say whether fields are all there is: not in a model, nor in a subclass that adds some."""
    return (
        "__dataclass_fields__" in vars(cls)
        and cast("object", cls.__new__) is object.__new__
        and not _is_model(cls)
    )


def _check_attributes(value: object, declared: list[str]) -> None:
    for name in declared:
        if not hasattr(value, name):
            raise _Refusal(value, f"Its field {name!r} was never set.")
    for name in getattr(value, "__dict__", {}):
        # What is computed from the fields will be again; typing leaves a trace of Box[int](1).
        derived = isinstance(getattr(type(value), name, None), cached_property)
        if name not in declared and not derived and name != "__orig_class__":
            hint = f"Its attribute {name!r} is no field. Declare it: field(init=False)."
            raise _Refusal(value, hint)


_ENCODERS: dict[type, Callable[[Any, int], Json]] = {
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


# Reading


def _read(text: str, depth: int) -> object:
    try:
        value: Json = _read_json(text)
    except RecursionError:
        raise MalformedPayloadError("it is nested too deeply") from None
    except ValueError as error:
        raise MalformedPayloadError(f"it is not JSON ({error})") from None
    if '"$' in text:
        return _decode(value, depth)
    if text.count("[") + text.count("{") > MAX_DEPTH:
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


_read_json = JSONDecoder(parse_constant=_refuse_constant).decode


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
    decode = _DECODERS.get(tag)
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
        return ZoneInfo(body)
    *offset, name = _items(body)
    since_utc = timedelta(*map(_whole, offset))
    return timezone(since_utc) if name is None else timezone(since_utc, _text(name))


def _decode_enum(body: Json, _depth: int) -> object:
    name, member = _pair(body)
    return _find(name, Enum).__members__[_text(member)]


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
    if not _is_plain_dataclass(cls) or not isinstance(stored, dict):
        raise TypeError("expected a dataclass")
    # A field that came with a later version has its default. One that is gone had a meaning.
    defaults = {field.name: field.default for field in fields(cls)}
    values = {**defaults, **{field: _decode(item, depth + 1) for field, item in stored.items()}}
    if values.keys() != defaults.keys() or any(value is MISSING for value in values.values()):
        raise MalformedPayloadError(f"{name!r} has other fields than were stored")
    instance = object.__new__(cls)
    for field, value in values.items():
        object.__setattr__(instance, field, value)
    return instance


def _find(name: Json, kind: type[_T]) -> type[_T]:
    cls = find_class(_text(name))
    if cls is None:
        raise MalformedPayloadError(
            f"no class {name!r} is loaded here; import its module where the tasks are defined"
        )
    if not issubclass(cls, kind):
        raise TypeError(f"expected {kind.__name__}")
    return cls


_DECODERS: dict[str, Callable[[Json, int], object]] = {
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


# Hints


class _Hint(NamedTuple):
    applies: Callable[[type], bool]
    advice: str
    #: What to enqueue, or to return, instead.
    instead: str | None = None


def _hint_for(cls: type, task: str | None) -> str:
    """Return what to do about a value of *cls*, met in a call of *task* or in a result."""
    hint = next(hint for hint in _HINTS if hint.applies(cls))
    base = next((base.__name__ for base in cls.__mro__ if base in _ENCODERS), "")
    words = {"base": base, "name": cls.__name__.lower(), "type": cls.__name__}
    advice = hint.advice.format(**words)
    if hint.instead is None:
        return f"{advice}."
    instead = hint.instead.format(**words)
    example = f"{task.rpartition('.')[2]}.enqueue({instead})" if task else f"return {instead}"
    return f"{advice}: {example}"


def _is_model(cls: type) -> bool:
    return hasattr(cls, "__mapper__") or hasattr(cls, "_sa_class_manager")


def _is_called(name: str) -> Callable[[type], bool]:
    """Look for a class of Werkzeug that this module does not import."""

    def applies(cls: type) -> bool:
        return any(
            base.__name__ == name and base.__module__.startswith("werkzeug.")
            for base in cls.__mro__
        )

    return applies


def _is_namedtuple(cls: type) -> bool:
    return hasattr(cls, "_fields") and issubclass(cls, tuple)


def _has(attribute: str) -> Callable[[type], bool]:
    return lambda cls: hasattr(cls, attribute)


def _is_any_of(*kinds: type) -> Callable[[type], bool]:
    return lambda cls: issubclass(cls, kinds)


_ZONE_HINT = "Use zoneinfo.ZoneInfo('Europe/Berlin'), or a fixed offset such as datetime.UTC."

_HINTS = (
    _Hint(
        _is_called("LocalProxy"),
        "It stands for something that is gone with the request or the context, as request, session "
        "and current_user do. Read what is needed from it now",
        "current_user.id",
    ),
    _Hint(
        _is_called("Request"),
        "It is gone with the response. Read what is needed from it in the view",
        "request.remote_addr",
    ),
    _Hint(
        _is_called("FileStorage"),
        "An upload is gone with its request. Save it first, upload.save(path), and give the path",
        "path",
    ),
    _Hint(
        _is_model,
        "A SQLAlchemy model belongs to its session. Give its id and load it again where it is "
        "used, {name} = db.session.get({type}, {name}_id)",
        "{name}.id",
    ),
    _Hint(
        _is_any_of(IOBase),
        "An open file stays in its process. Give the path and open it again where it is used",
        "path",
    ),
    _Hint(
        _has("__next__"),
        "It can be read once, and only here. Give a list",
        "list(items)",
    ),
    _Hint(
        _is_any_of(CoroutineType),
        "It has not run yet. Await it and give what it returns",
        "await value",
    ),
    _Hint(
        _is_any_of(FunctionType, BuiltinFunctionType, MethodType, partial, type),
        "Only data is stored, no code. Make it a task, or give a name and look it up by that",
        "'name'",
    ),
    _Hint(
        _is_namedtuple,
        "A namedtuple would come back as a plain tuple. Give that, or make it a dataclass",
        "tuple(value)",
    ),
    _Hint(
        _is_any_of(str, int, float, list, tuple, dict, set, frozenset, bytes, Decimal),
        "It would come back as a plain {base}. Give that",
        "{base}(value)",
    ),
    _Hint(
        _is_any_of(*_ENCODERS),
        "It would come back as a plain {base}. Convert it first",
    ),
    _Hint(
        _has("__dataclass_fields__"),
        "It is more than the fields of a dataclass: put @dataclass on {type} itself, and let it "
        "have neither a __new__ nor a built-in parent",
    ),
    _Hint(
        _is_any_of(object),
        "Supported: None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, "
        "datetime, date, time, timedelta, Decimal, UUID, Path, Enum and dataclasses",
    ),
)
