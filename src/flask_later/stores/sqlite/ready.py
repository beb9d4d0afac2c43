"""Which of the topics that somebody waits for have something."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from flask_later.core.job import FINISHED, is_id
from flask_later.core.store import DUE

from .claims import runnable_queues
from .jobs import Jobs


def ready(jobs: Jobs, topics: Collection[str], known_due: datetime) -> list[str]:
    """Return those of *topics* that have something; of no topics, all queues that do.

    :param known_due: a row that falls due before that is something.
    """
    runnable = frozenset(runnable_queues(jobs.db))
    if not topics:
        return [*runnable]
    return [each for each in topics if each in runnable or _is_ready(jobs, each, known_due)]


def _is_ready(jobs: Jobs, topic: str, known_due: datetime) -> bool:
    if topic == DUE:
        next_due = jobs.next_due()
        return next_due is not None and next_due < known_due
    if is_id(topic):
        record = jobs.load(topic)
        return record is None or record.state in FINISHED
    return False
