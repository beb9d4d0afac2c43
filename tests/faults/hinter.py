"""A process that hints again at jobs that wait, as a broker does that delivers more than once.

Once for each gate ``again-1``, ``again-2``, ..., and straight to the broker, where nothing spares
it a hint.
"""

from __future__ import annotations

import time
from contextlib import closing
from itertools import count

from app import create_app, is_open
from events import record

from flask_later.core.job import Hint, JobState
from flask_later.core.store import JobFilter
from flask_later.engines.brokered import BrokeredEngine
from flask_later.tasks.state import AppState

#: Hints for each job, beside those that it has; and jobs at a time.
COPIES, JOBS = 3, 20
WAITING = JobFilter(frozenset({JobState.QUEUED}))


def hints_again(state: AppState) -> list[Hint]:
    """Return some, once jobs wait."""
    while not (waiting := state.store.find(WAITING, limit=JOBS).records):
        time.sleep(0.01)
    return [Hint(state.store.identity, job.queue, job.id, job.fence) for job in waiting] * COPIES


def send(state: AppState, hints: list[Hint]) -> int:
    """Return how many hints the broker holds then."""
    if not isinstance(state.engine, BrokeredEngine):
        state.engine.deliver(hints)
        return len(hints)
    with closing(state.engine.make_line()) as line:
        for hint in hints:
            line.send(hint)
        return line.waiting("default")


state: AppState = create_app().extensions["later"]
for turn in count(1):
    while not is_open(f"again-{turn}"):
        time.sleep(0.01)
    hints = hints_again(state)
    record("hinted", turn=turn, hints=len(hints), held=send(state, hints))
