"""What the store hears of attempts in hand, and what they hear from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from flask_later.core.clock import Clock
from flask_later.core.exchange import Claim, Note
from flask_later.core.store import BEAT, Store
from flask_later.errors import StoreError
from flask_later.logs import Log
from flask_later.tasks.current import Attempt

_logger = Log(__name__)

#: Seconds between two notes of the same attempt, so that progress costs few commits.
_NOTE_EVERY = 0.5
#: Seconds for which a worker that leaves waits for the end of its last beat.
_LAST_BEAT = 0.5


class Beats:
    """Those of one worker: progress and log lines on their way out, requests to stop on their way
    in.

    :param running: returns the attempts that have begun and are not settled.
    :param waiting: returns the claims on jobs that have not begun.
    """

    def __init__(
        self,
        store: Store,
        worker: str,
        clock: Clock,
        running: Callable[[], Mapping[Claim, Attempt]],
        waiting: Callable[[], Iterable[Claim]],
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._running = running
        self._waiting = waiting
        self._last = 0.0
        self._noting = threading.Lock()
        self._ended = False
        #: Notes in a row that the store has not taken.
        self._untold = 0

    @property
    def is_due(self) -> bool:
        """Whether the store has heard nothing for a while."""
        return self._clock.monotonic() - self._last >= BEAT

    @property
    def may_tell_news(self) -> bool:
        return self._clock.monotonic() - self._last >= _NOTE_EVERY

    def beat(self) -> None:
        """Tell the store what is in hand, and the attempts in hand what the store says."""
        self._last = self._clock.monotonic()
        notes = [attempt.take_note() for attempt in self._running().values()]
        self._note([note for note in notes if note is not None])

    def tell_last(self, attempt: Attempt) -> None:
        """Tell the news of an attempt that ends."""
        note = attempt.take_note()
        if note is not None:
            self._note([note])

    def stop(self) -> None:
        """Beat no more: who is damaged, or leaves."""
        self._ended = True

    def await_last(self) -> None:
        """Let a beat on its way come first, before the worker says good-bye.

        If it takes so long, the file is locked: to wait for its end and then for the file would
        take twice the patience of a stop.
        """
        if self._noting.acquire(timeout=_LAST_BEAT):
            self._noting.release()

    def _note(self, notes: Sequence[Note]) -> None:
        running = self._running()
        # A beat that overtakes the end would make the worker known again.
        with self._noting:
            if self._ended:
                return
            holding = {*running, *self._waiting()}
            try:
                stops = self._store.note(self._worker, holding, notes)
            except StoreError as error:
                self._untold += 1
                if self._untold.bit_count() == 1:
                    # The first time, the second, the fourth: it may last.
                    lost = "; progress was not stored" if notes else ""
                    _logger.warning("the store does not answer%s. %s", lost, error)
                return
            self._untold = 0
        for claim, reason in stops.items():
            # One that has not begun is in hand for milliseconds: the next beat tells it.
            if claim in running:
                running[claim].ask_to_stop(reason)
