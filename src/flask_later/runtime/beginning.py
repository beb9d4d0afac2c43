"""How a process begins to work: beside the first request, which need not wait for the store."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask_later.errors import StoreError
from flask_later.logs import Log
from flask_later.runtime.threads import join_all, make_thread

_logger = Log(__name__)

#: Seconds for which whoever makes a process begin waits until it has.
_PATIENCE = 1.0
#: Seconds between two tries to open a store: the first and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class Beginning:
    """Starts what needs no store, opens the store, and starts what needs it.

    On a thread of its own: signals of the server raise in the main thread, and none half-way here.
    A store that cannot be opened is tried again and again, while all else works.

    :param at_once: starts what needs no store.
    :param open_store: is called until it raises no StoreError.
    :param with_store: starts the rest.
    :param failed: is called if anything else is raised.
    """

    def __init__(
        self,
        at_once: Callable[[], None],
        open_store: Callable[[], object],
        with_store: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        self._at_once = at_once
        self._open_store = open_store
        self._with_store = with_store
        self._failed = failed
        self._stopping = threading.Event()
        #: All has begun, or what has not will take its time.
        self._begun = threading.Event()
        self._error: BaseException | None = None
        self._thread = make_thread("later-start", self._work)

    def start(self) -> None:
        """:raises RuntimeError: if there is no thread to be had."""
        self._thread.start()

    def wait(self) -> None:
        """Wait a moment until all has begun; raise what kept it from that."""
        self._begun.wait(_PATIENCE)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._stopping.set()

    def join(self, deadline: float) -> None:
        if self._thread.ident is not None:
            join_all([self._thread], deadline)

    def _work(self) -> None:
        try:
            self._at_once()
            if self._open():
                self._with_store()
        except BaseException as error:
            _logger.exception("this process could not begin to work; the next request tries again")
            self._error = error
            self._failed()
        finally:
            self._begun.set()

    def _open(self) -> bool:
        """Open the store; returns whether that worked before the stop came."""
        said, pause = "", _FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                self._open_store()
            except StoreError as error:
                said = self._complain(error, said)
            else:
                if said:
                    _logger.warning("the store is open now, and jobs run")
                return True
            self._begun.set()
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return False

    def _complain(self, error: StoreError, said: str) -> str:
        """Say what is wrong with the store, unless it is what was *said* before; return it."""
        if str(error) != said:
            _logger.critical(
                "the store cannot be opened: no job runs here, and pages that do not need it are "
                "served. It is tried again every %g s. %s",
                _LONGEST_PAUSE,
                error,
            )
        return str(error)
