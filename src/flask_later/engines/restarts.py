"""A library's worker that ends by itself, or finds no broker, is started again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from flask_later.errors.words import named
from flask_later.logs import Log

_logger = Log(__name__)

#: Seconds before it is started again: the first and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 8.0


class Restarts:
    """Runs a worker until it is stopped; what keeps it from working is said once.

    :param look: raises what is wrong with the broker.
    :param place: where the broker is, for people to read.
    """

    def __init__(self, look: Callable[[], None], place: str) -> None:
        self._look = look
        self._place = place
        self._stopping = threading.Event()
        #: The trouble that was told of, by whichever thread met it first.
        self._told = ""

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        self._stopping.set()

    def work(self, serve: Callable[[], None], goes_on: Callable[[], bool]) -> None:
        """Call *serve* while *goes_on*, and again after a pause when it ends before that."""
        failures = 0
        while goes_on():
            began = time.monotonic()
            trouble = self._try(serve)
            if not goes_on():
                return
            failures = 0 if time.monotonic() - began > _LONGEST_PAUSE else failures + 1
            self._tell(trouble)
            self._stopping.wait(min(_FIRST_PAUSE * 2.0 ** min(failures, 10), _LONGEST_PAUSE))

    def _try(self, serve: Callable[[], None]) -> str:
        """Return why that ended."""
        try:
            self._look()
            if self._told:
                _logger.info("the broker %s can be used again", self._place)
            self._told = ""
            serve()
            # A library says that in its own log.
            self._look()
        except Exception as error:
            return named(error)
        return "its worker has ended by itself"

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:
            self._told = trouble
            _logger.error(
                "this process takes no hints from the broker %s (%s). It tries again until it can; "
                "jobs are stored meanwhile. See: flask later doctor",
                self._place,
                trouble,
            )
