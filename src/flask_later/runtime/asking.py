"""Asking a store that may not answer, again and again: an outcome must not be lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

from flask_later.core.exchange import Handover, Outcome, Want, never_began
from flask_later.core.job import JobRecord
from flask_later.core.store import Store
from flask_later.errors import StoreCorruptError, StoreError
from flask_later.logs import Log

_logger = Log(__name__)

#: Seconds between two tries: the first and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


class Asking:
    """The exchanges of one worker with its store, on whichever thread.

    :param stopping: ends the wait of those who have no outcomes to tell.
    """

    def __init__(self, store: Store, worker: str, stopping: threading.Event) -> None:
        self._store = store
        self._worker = worker
        self._stopping = stopping
        #: Exchanges in a row that the store has not answered.
        self._unanswered = 0

    def exchange(self, outcomes: Sequence[Outcome], want: Want) -> Handover:
        """Ask until the store answers; once only, where there are no outcomes.

        :raises StoreCorruptError: if it is damaged, so that asking again does no good.
        """
        while True:
            try:
                handover = self._store.exchange(self._worker, outcomes, want)
            except StoreCorruptError:
                _leave_unsettled(outcomes)
                raise
            except StoreError as error:
                self._pause(error, bool(outcomes))
            else:
                self._unanswered = 0
                return handover
            if not outcomes:
                return Handover()

    def stand_by(self, want: Want, timeout: float) -> Sequence[JobRecord]:
        """Sleep until there may be something; return what has been claimed already."""
        try:
            return self._store.stand_by(self._worker, want, timeout)
        except StoreError as error:
            # Whoever claims meets it as well, and knows what to do about it.
            self._pause(error, False)
            return ()

    def _pause(self, error: StoreError, outcomes: bool) -> None:
        """Sleep, longer each time: without that, all threads would ask on and on."""
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._unanswered, 10), _LONGEST_PAUSE)
        self._unanswered += 1
        doing = "an outcome could not be stored, trying again" if outcomes else "looking again"
        if self._unanswered.bit_count() == 1:
            # The first time, the second, the fourth: all threads say the same, again and again.
            _logger.warning("the store does not answer; %s in %.2g s. %s", doing, pause, error)
        pause = random.uniform(pause / 2, pause)
        if outcomes:
            time.sleep(pause)
        else:
            # Who holds nothing has no reason to hold up a stop.
            self._stopping.wait(pause)


def _leave_unsettled(outcomes: Sequence[Outcome]) -> None:
    ended = [each.claim.job_id for each in outcomes if not never_began(each)]
    if ended:
        _logger.error(
            "the store is damaged, so what became of these jobs could not be stored; where the "
            "file is saved, they run again: %s",
            ", ".join(ended),
        )
