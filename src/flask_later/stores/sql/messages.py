"""Topics as the texts of PostgreSQL's notifications, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import cast

#: Bytes of a notification; PostgreSQL takes less than 8000.
_MOST_BYTES = 7_500


def topics_of(message: str) -> list[str]:
    """Return the topics of a notification; of one that is not ours, none."""
    try:
        topics = json.loads(message)
    except ValueError:
        return []
    listed = cast("list[object]", topics) if isinstance(topics, list) else []
    return [topic for topic in listed if isinstance(topic, str)]


def messages_of(topics: Iterable[str]) -> Iterator[str]:
    """Yield notifications that tell *topics*, none of them too long."""
    batch: list[str] = []
    size = 2
    for topic in topics:
        length = len(json.dumps(topic)) + 2
        if size + length > _MOST_BYTES and batch:
            yield json.dumps(batch)
            batch, size = [], 2
        batch.append(topic)
        size += length
    if batch:
        yield json.dumps(batch)
