"""How many jobs of one principal may wait. Pure, so that all stores mean the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from flask_later.core.job import PENDING, JobRecord
from flask_later.errors import PrincipalQueueFullError


def takes_place(record: JobRecord) -> bool:
    """Whether *record* waits, on behalf of somebody who may have only so many."""
    return record.principal is not None and record.state in PENDING


def require_places(
    new: Iterable[JobRecord], waiting: Callable[[str, int], int], most: int | None
) -> None:
    """Refuse *new* if more jobs of one principal would wait then than *most*.

    :param waiting: returns how many of a principal wait already; *most*, if they are more.
    :raises PrincipalQueueFullError: if so.
    """
    if most is None:
        return
    # The same job, or the same unique key, is stored once however often it comes.
    distinct = {each.unique_key or each.id: each for each in new if takes_place(each)}
    wanted = Counter(str(each.principal) for each in distinct.values())
    for principal, number in wanted.items():
        there = waiting(principal, most)
        if there + number > most:
            raise PrincipalQueueFullError(there, most)
