"""What to do about a value that cannot be stored, by what it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from io import IOBase
from pathlib import Path
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import NamedTuple
from uuid import UUID


class _Advice(NamedTuple):
    applies: Callable[[type], bool]
    advice: str
    #: What to enqueue, or to return, instead.
    instead: str | None = None


def advice_for(cls: type, task: str | None, plain: Collection[type]) -> str:
    """Return what to do about a value of *cls*, met in a call of *task* or in a result.

    *plain* are the types that are stored as they are, whose subclasses are not.
    """
    fitting = next(each for each in _ADVICE if each.applies(cls))
    base = next((base.__name__ for base in cls.__mro__ if base in plain), "")
    words = {"base": base, "name": cls.__name__.lower(), "type": cls.__name__}
    advice = fitting.advice.format(**words)
    if fitting.instead is None:
        return f"{advice}."
    instead = fitting.instead.format(**words)
    example = f"{task.rpartition('.')[2]}.enqueue({instead})" if task else f"return {instead}"
    return f"{advice}: {example}"


def is_model(cls: type) -> bool:
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


ZONE_ADVICE = "Use zoneinfo.ZoneInfo('Europe/Berlin'), or a fixed offset such as datetime.UTC."

_ADVICE = (
    _Advice(
        _is_called("LocalProxy"),
        "It stands for something that is gone with the request or the context, as request, session "
        "and current_user do. Read what is needed from it now",
        "current_user.id",
    ),
    _Advice(
        _is_called("Request"),
        "It is gone with the response. Read what is needed from it in the view",
        "request.remote_addr",
    ),
    _Advice(
        _is_called("FileStorage"),
        "An upload is gone with its request. Save it first, upload.save(path), and give the path",
        "path",
    ),
    _Advice(
        is_model,
        "A SQLAlchemy model belongs to its session. Give its id and load it again where it is "
        "used, {name} = db.session.get({type}, {name}_id)",
        "{name}.id",
    ),
    _Advice(
        _is_any_of(IOBase),
        "An open file stays in its process. Give the path and open it again where it is used",
        "path",
    ),
    _Advice(
        _has("__next__"),
        "It can be read once, and only here. Give a list",
        "list(items)",
    ),
    _Advice(
        _is_any_of(CoroutineType),
        "It has not run yet. Await it and give what it returns",
        "await value",
    ),
    _Advice(
        _is_any_of(FunctionType, BuiltinFunctionType, MethodType, partial, type),
        "Only data is stored, no code. Make it a task, or give a name and look it up by that",
        "'name'",
    ),
    _Advice(
        _is_namedtuple,
        "A namedtuple would come back as a plain tuple. Give that, or make it a dataclass",
        "tuple(value)",
    ),
    _Advice(
        _is_any_of(str, int, float, list, tuple, dict, set, frozenset, bytes, Decimal),
        "It would come back as a plain {base}. Give that",
        "{base}(value)",
    ),
    _Advice(
        _is_any_of(datetime, date, time, timedelta, UUID, Path, bool),
        "It would come back as a plain {base}. Convert it first",
    ),
    _Advice(
        _has("__dataclass_fields__"),
        "It is more than the fields of a dataclass: put @dataclass on {type} itself, and let it "
        "have neither a __new__ nor a built-in parent",
    ),
    _Advice(
        _is_any_of(object),
        "Supported: None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, "
        "datetime, date, time, timedelta, Decimal, UUID, Path, Enum and dataclasses",
    ),
)
