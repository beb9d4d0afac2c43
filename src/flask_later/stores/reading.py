"""Reading for people, whatever the store: pages, and what each queue holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from flask_later.core.cursors import is_cursor
from flask_later.core.job import JobState
from flask_later.core.store import MAX_PAGE, QueueStats


def within_page(limit: int) -> int:
    """Return how many rows a page has of which *limit* were asked for."""
    return max(1, min(limit, MAX_PAGE))


def row_of(cursor: str) -> int:
    """Return the number of the row that *cursor* names; one that is not ours names the end."""
    return int(cursor) if is_cursor(cursor) else 0


def stats_of(
    counts: Iterable[tuple[str, JobState, int, datetime]], paused: Collection[str]
) -> list[QueueStats]:
    """Return every queue that has jobs or is paused, by name.

    :param counts: how many jobs a queue has in a state, and when the first of them may run; in
        parts, or all at once.
    """
    numbers: defaultdict[str, Counter[JobState]] = defaultdict(Counter)
    oldest: dict[str, datetime] = {}
    for queue, state, number, run_at in counts:
        numbers[queue][state] += number
        if state is JobState.QUEUED:
            oldest[queue] = min(run_at, oldest.get(queue, run_at))
    return [
        QueueStats(name, name in paused, dict(numbers[name]), oldest.get(name))
        for name in sorted({*numbers, *paused})
    ]
