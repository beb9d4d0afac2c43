"""Whether a body is JSON, before a job is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn, cast

from werkzeug.exceptions import BadRequest

#: Deeper nesting is nobody's data.
MAX_DEPTH = 64


def require_json(data: bytes) -> None:
    """Refuse what is no JSON, or is nested too deeply to be read with ease.

    :raises BadRequest: then.
    """
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    # Mostly there are not that many brackets in all of it.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise BadRequest(f"The JSON is nested more than {MAX_DEPTH} levels deep.")


def _no_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, which are no JSON.
    raise ValueError(name)


def _is_deep(value: object) -> bool:
    level = _containers((value,))
    for _ in range(MAX_DEPTH):
        level = _containers(inner for each in level for inner in _within(each))
    return bool(level)


def _containers(values: Iterable[object]) -> list[Any]:
    return [each for each in values if isinstance(each, dict | list)]


def _within(container: Any) -> Iterable[object]:
    if isinstance(container, dict):
        return cast("dict[str, object]", container).values()
    return cast("list[object]", container)
