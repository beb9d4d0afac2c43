"""Which of the topics that somebody waits for have something."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from flask_later.core.job import FINISHED, is_id
from flask_later.core.store import DUE
from flask_later.stores.upkeep import Outlook
from flask_later.stores.waiters import asks_for_queues, those_ready

from .claims import runnable_queues
from .jobs import Jobs
from .sweeps import is_calm


def ready(jobs: Jobs, topics: Collection[str], outlook: Outlook) -> list[str]:
    """Return those of *topics* that have something, and for ANY all queues that do.

    What the *outlook* has not told is something to those who wait for what falls due.
    """
    runnable = runnable_queues(jobs.db) if asks_for_queues(topics) else []
    return those_ready(topics, runnable, partial(_is_ready, jobs, outlook))


def _is_ready(jobs: Jobs, outlook: Outlook, topic: str) -> bool:
    if topic == DUE:
        return outlook.is_over(jobs.next_due(), partial(is_calm, jobs.db))
    if is_id(topic):
        record = jobs.load(topic)
        return record is None or record.state in FINISHED
    return False
