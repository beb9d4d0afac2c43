"""Documents as what they are: dicts and lists in each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

Part = dict[str, Any]


def changed(part: Part, change: Callable[[Part], Part]) -> Part:
    """Return *part* with *change* made of each dict in it, the innermost first."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(each) for each in cast("list[object]", value)]
        if isinstance(value, dict):
            found = cast("Part", value)
            return change({key: walk(value) for key, value in found.items()})
        return value

    return cast("Part", walk(part))


def fill(part: Part, other: Part) -> None:
    """Put into *part* what of *other* it lacks."""
    for key, value in other.items():
        there = part.setdefault(key, value)
        if isinstance(there, dict) and there is not value:
            fill(cast("Part", there), value)
