"""The JSON round trip of arguments and results, the same on every store.

What comes back is equal to what went in, and of the same type; what would come back changed is
refused. Plain values are plain JSON. Anything else is an object with one key, its tag::

    {"$datetime": "2026-11-21T08:00:00+00:00"}    {"$tuple": [1, 2]}    {"$dict": [[1, "one"]]}

Reading never imports a module and never calls a constructor of the application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from json import JSONEncoder, encoder
from json.encoder import encode_basestring_ascii as _quote
from typing import Any, TypeGuard, cast

from flask_later.errors import MalformedPayloadError, NotSerializableError, PayloadTooLargeError

from .advice import advice_for
from .decoding import read
from .encoding import ENCODERS, Json, Refusal, encode, has_plain_keys


def dumps(
    value: object, *, where: str = "value", max_bytes: int | None = None, setting: str = ""
) -> str:
    """Return *value* as ASCII text; *where* names it in errors.

    :raises NotSerializableError: It, or something in it, would not come back as it is.
    :raises PayloadTooLargeError: The text is longer than *max_bytes*.
    """
    if value is None:
        return "null"  # what most tasks return
    try:
        encoded = encode(value, 0)
    except Refusal as refusal:
        raise _error(refusal, where, None) from None
    text = _write_json(encoded)
    if max_bytes is not None and len(text) > max_bytes:
        raise PayloadTooLargeError(where, len(text), max_bytes, setting)
    return text


def loads(text: str) -> object:
    """Return the value that :func:`dumps` was given.

    :raises MalformedPayloadError: Whatever else is wrong with *text*.
    """
    return read(text, 0)


def dump_call(
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    task: str,
    names: Sequence[str],
    max_bytes: int | None = None,
    setting: str = "",
) -> str:
    """Return the arguments of a call as ASCII text, ``[[args...], {kwargs...}]``.

    *task*, *names*, those of the positional parameters, and *setting*, which sets *max_bytes*,
    appear in errors only.

    :raises NotSerializableError: An argument would not come back as it is.
    :raises PayloadTooLargeError: The text is longer than *max_bytes*.
    """
    positional: list[Json] = []
    named: dict[str, Json] = {}
    name: str | None = None
    try:
        # Not in one go: after a refusal the length tells where it was.
        for value in args:
            positional.append(encode(value, 0))  # noqa: PERF401
        for name, value in kwargs.items():
            named[name] = encode(value, 0)
    except Refusal as refusal:
        place = len(positional) if name is None else name
        raise _error(refusal, _argument(place, names), task) from None
    if named and not has_plain_keys(named):
        named = {"$dict": [[encode(name, 0), value] for name, value in named.items()]}
    text = _write_json([positional, named])
    if max_bytes is not None and len(text) > max_bytes:
        raise PayloadTooLargeError(f"The call of {task}", len(text), max_bytes, setting)
    return text


def load_call(text: str) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the arguments that :func:`dump_call` was given.

    :raises MalformedPayloadError: Whatever else is wrong with *text*.
    """
    call = read(text, -2)  # so that an argument may be as deep as a result
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


def _error(refusal: Refusal, where: str, task: str | None) -> NotSerializableError:
    cls = type(refusal.value)
    advice = refusal.advice or advice_for(cls, task, ENCODERS)
    return NotSerializableError(where + refusal.path, cls.__name__, advice)


def _make_writer() -> Callable[[Json], str]:
    """Return what writes JSON: the encoder in C, which ``JSONEncoder`` makes anew for each text.

    That takes as long as to write a short one. How it is made is nobody's promise, so it is tried.
    """
    plain = JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"))
    sample: Json = ["\u00e4", {"a": None, "b": [True, 1, 0.5]}]
    try:
        make = cast("Any", encoder).c_make_encoder
        write: Callable[[Json, int], Iterable[str]] = make(
            None, plain.default, _quote, None, ":", ",", False, False, False
        )
        works = "".join(write(sample, 0)) == plain.encode(sample)
    except (AttributeError, TypeError):
        return plain.encode
    return (lambda value: "".join(write(value, 0))) if works else plain.encode


_write_json = _make_writer()
