"""The one thread of a process that listens, so that those who wait can sleep."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from typing import Protocol

from flask_later.errors import StoreError
from flask_later.logs import Log

from .ears import Ear

_logger = Log(__name__)

#: Seconds for which hints are held back while a thread looks again by itself; see Waiters. Longer
#: than QUIET, so that a queue is looked at once more after the last hint that was not sent.
SPREAD = 0.005
#: Seconds between two times of tidying up.
_TIDY_EVERY = 10.0
#: Seconds before the next try after one that failed.
_PAUSE = 0.5
#: Seconds that the end of what is being read is waited for.
_GOODBYE = 5.0


class Home(Protocol):
    """What the listener listens for."""

    def has_waiters(self) -> bool:
        """Whether any thread waits."""
        ...

    def hear(self, topics: Collection[str]) -> None:
        """Wake those who wait for *topics*."""
        ...

    def look(self) -> None:
        """Wake those who have something."""
        ...

    def spread(self) -> None:
        """Wake those whose hints were held back."""
        ...

    def tidy(self) -> None:
        """See to it that others know what this process listens for."""
        ...


class Listener:
    """Hears for this process, and looks from time to time, as long as any of its threads waits."""

    def __init__(self, ear: Ear, home: Home) -> None:
        self._ear = ear
        self._home = home
        self._pid = os.getpid()
        self._closing = False
        self._spreading = False
        #: Ends a rest.
        self._bell = threading.Event()
        self._next_look = 0.0
        self._next_tidy = 0.0
        self._thread = threading.Thread(name="later-listener", target=self._work, daemon=True)

    @property
    def is_mine(self) -> bool:
        """Whether it listens in this process, and not in the one this was forked from."""
        return self._pid == os.getpid()

    def start(self) -> None:
        """:raises RuntimeError: if no thread can be started."""
        self._thread.start()

    def notice(self) -> None:
        """A thread is about to wait."""
        self._bell.set()

    def arm(self) -> None:
        """Call :meth:`Home.spread` in a moment."""
        if not self._spreading:
            self._spreading = True
            self._bell.set()
            if threading.current_thread() is not self._thread:
                self._ear.interrupt()

    def close(self) -> None:
        """Listen no more, and close the ear."""
        self._closing = True
        self._bell.set()
        self._ear.interrupt()
        if threading.current_thread() is not self._thread:
            self._thread.join(_GOODBYE)

    def _work(self) -> None:
        failing = ""
        while not self._closing:
            try:
                self._listen()
                failing = ""
            except BaseException as error:
                if failing != repr(error) and not self._closing:
                    # One of ours says all there is to say.
                    trace = None if isinstance(error, StoreError) else error
                    said = "the store cannot be listened to; said once. %s"
                    _logger.warning(said, error, exc_info=trace)
                failing = repr(error)
                self._bell.clear()
                self._bell.wait(_PAUSE)
        self._ear.close()

    def _listen(self) -> None:
        if not self._home.has_waiters() and not self._spreading:
            self._rest()
        is_awaited = self._home.has_waiters()
        self._hear(self._next_look - time.monotonic() if is_awaited else 0.0)
        if self._spreading:
            time.sleep(SPREAD)
            self._spreading = False
            self._hear(0.0)
            self._home.spread()
        if is_awaited and time.monotonic() >= self._next_look:
            self._look()

    def _rest(self) -> None:
        self._bell.clear()
        # Who lay down meanwhile did not see that this rests.
        if not self._home.has_waiters() and not self._spreading and not self._closing:
            self._bell.wait(self._ear.rest)

    def _hear(self, timeout: float) -> None:
        topics = self._ear.receive(0.0 if self._spreading else max(0.0, timeout))
        if topics is None:
            # The store has all of them.
            self._home.look()
        elif topics:
            self._home.hear(dict.fromkeys(topics))

    def _look(self) -> None:
        now = time.monotonic()
        self._next_look = now + self._ear.poll
        self._home.look()
        if now >= self._next_tidy:
            self._next_tidy = now + _TIDY_EVERY
            self._home.tidy()
