"""Which of the topics that somebody waits for have something."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

from flask_later.core.job import FINISHED, is_id
from flask_later.core.store import DUE, Swept

from .claims import runnable_queues
from .jobs import Jobs
from .sweeps import is_calm

_NEVER = datetime.max.replace(tzinfo=UTC)


class Outlook(NamedTuple):
    """What the last sweep of a process has told of the time until the next."""

    #: When the next row falls due.
    next_due: datetime = _NEVER
    #: Whether nothing else may need a sweep before that.
    calm: bool = False

    @classmethod
    def after(cls, swept: Swept) -> Outlook:
        return cls(swept.next_due or _NEVER, swept.calm)


def ready(jobs: Jobs, topics: Collection[str], outlook: Outlook) -> list[str]:
    """Return those of *topics* that have something; of no topics, all queues that do.

    What the *outlook* has not told is something to those who wait for what falls due.
    """
    runnable = frozenset(runnable_queues(jobs.db))
    if not topics:
        return [*runnable]
    return [each for each in topics if each in runnable or _is_ready(jobs, each, outlook)]


def _is_ready(jobs: Jobs, topic: str, outlook: Outlook) -> bool:
    if topic == DUE:
        next_due = jobs.next_due()
        is_earlier = next_due is not None and next_due < outlook.next_due
        return is_earlier or (outlook.calm and not is_calm(jobs.db))
    if is_id(topic):
        record = jobs.load(topic)
        return record is None or record.state in FINISHED
    return False
