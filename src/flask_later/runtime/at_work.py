"""The attempts that the threads of one worker are at."""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

from flask_later.core.clock import Clock
from flask_later.core.exchange import Claim
from flask_later.core.job import JobRecord
from flask_later.core.states import has_last_chance
from flask_later.runtime.execution import Call
from flask_later.tasks.current import Attempt

#: Seconds between two looks whether it is a job's turn that runs alone of its kind.
_TURN = 0.05


class Running(NamedTuple):
    """An attempt in hand, with what its timeout needs."""

    attempt: Attempt
    record: JobRecord
    call: Call
    thread: threading.Thread
    #: Of the clock; infinity while it waits for its turn.
    started: float

    @property
    def time_is_up_at(self) -> float:
        timeout = self.record.timeout
        return math.inf if timeout is None else self.started + timeout


class AtWork:
    """What is in hand until it is settled, and what each thread is at until that is back.

    :param stopping: ends every wait for a turn.
    """

    def __init__(self, clock: Clock, stopping: threading.Event) -> None:
        self._clock = clock
        self._stopping = stopping
        self._in_hand: dict[Claim, Running] = {}
        #: Also after its attempt was taken from it.
        self._on_threads: dict[Claim, Running] = {}
        self._lock = threading.Lock()

    @property
    def in_hand(self) -> list[Running]:
        return [*self._in_hand.values()]

    @property
    def is_busy(self) -> bool:
        return bool(self._in_hand)

    @property
    def stuck(self) -> tuple[str, ...]:
        """The jobs whose time was up, and whose threads still run."""
        taken = [*self._on_threads.items()]
        return tuple(each.record.id for claim, each in taken if claim not in self._in_hand)

    def attempts(self) -> dict[Claim, Attempt]:
        return {each.attempt.claim: each.attempt for each in self.in_hand}

    def get(self, claim: Claim) -> Running | None:
        """Return what is in hand under *claim*."""
        return self._in_hand.get(claim)

    def take(self, running: Running) -> None:
        """A thread begins with *running*."""
        claim = running.attempt.claim
        self._in_hand[claim] = self._on_threads[claim] = running

    def leave(self, claim: Claim) -> None:
        """Its thread is back from it."""
        self._on_threads.pop(claim)

    def drop(self, claim: Claim) -> None:
        """It is in hand no more."""
        self._in_hand.pop(claim, None)

    def begin_alone(self, running: Running) -> bool:
        """Wait until no other job here has its last chance; returns False if the stop came first.

        Meanwhile it is in hand, and its time does not run.
        """
        while not self._stopping.is_set():
            with self._lock:
                if not any(
                    has_last_chance(o.record) and o.started < math.inf for o in self.in_hand
                ):
                    self.take(running._replace(started=self._clock.monotonic()))
                    return True
            self._stopping.wait(_TURN)
        return False

    def overdue(self) -> tuple[list[Running], float | None]:
        """Return those whose time is up, and the seconds to the next deadline of the others."""
        now = self._clock.monotonic()
        running = self.in_hand
        left = [each.time_is_up_at - now for each in running if now < each.time_is_up_at < math.inf]
        return [each for each in running if each.time_is_up_at <= now], min(left, default=None)
