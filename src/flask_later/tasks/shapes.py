"""The shapes of the classes that a task's arguments are said to be of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast, get_args, get_type_hints


def shapes_of(function: Callable[..., Any]) -> list[tuple[str, list[str]]]:
    """Return the enums and dataclasses that annotate *function*, with their members or fields.

    Annotations that cannot be looked up are passed over: they may exist for a type checker only.
    """
    try:
        hints = get_type_hints(function)
    except Exception:
        return []
    classes = {cls for hint in hints.values() for cls in _classes_in(hint)}
    return sorted((f"{cls.__module__}.{cls.__qualname__}", _shape_of(cls)) for cls in classes)


def _classes_in(hint: Any) -> Iterator[type[Any]]:
    cls = cast("type[Any]", hint)
    if isinstance(hint, type) and (issubclass(cls, Enum) or is_dataclass(cls)):
        yield cls
    for inner in get_args(hint):
        yield from _classes_in(inner)


def _shape_of(cls: type[Any]) -> list[str]:
    if issubclass(cls, Enum):
        return sorted(cls.__members__)
    return [field.name for field in fields(cls)]
