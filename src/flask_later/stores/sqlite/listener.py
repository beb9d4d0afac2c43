"""The one thread of a process that listens, so that those who wait can sleep."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from flask_later.logs import Log

from .wakeups import Inbox

_logger = Log(__name__)

#: Seconds between two looks for what nobody has told, which is what a lost wake-up costs at most.
POLL = 0.5
#: Seconds for which hints are held back while a thread looks again by itself; see Waiters.
SPREAD = 0.003
#: Looks between two times of tidying up.
_TIDY_EVERY = 40
#: The longest rest, in seconds.
_REST = 60.0


class Home(Protocol):
    """What the listener listens for."""

    def has_waiters(self) -> bool:
        """Whether any thread waits."""
        ...

    def hear(self, topics: Collection[str]) -> None:
        """Wake those who wait for *topics*."""
        ...

    def look(self) -> None:
        """Wake those who have something, if anything has changed."""
        ...

    def spread(self) -> None:
        """Wake those whose hints were held back."""
        ...

    def tidy(self) -> None:
        """See whether the file says the right thing about this process."""
        ...


class Listener:
    """Reads the inbox of this process for as long as any of its threads waits.

    Otherwise it rests, and what is sent fills the kernel's buffer, which costs nobody anything.
    Without an inbox, as on Windows, it only looks from time to time.
    """

    def __init__(self, path: Path, home: Home) -> None:
        self._home = home
        self._pid = os.getpid()
        self._closing = False
        self._resting = False
        self._spreading = False
        self._bell = threading.Event()
        try:
            self.inbox: Inbox | None = Inbox(path)
        except (OSError, AttributeError):
            self.inbox = None
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
        if self._resting:
            self._bell.set()

    def arm(self) -> None:
        """Call :meth:`Home.spread` in a moment."""
        if not self._spreading:
            self._spreading = True
            if threading.current_thread() is not self._thread:
                self._interrupt()

    def close(self) -> None:
        self._closing = True
        self._bell.set()
        self._interrupt()
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * POLL)
        if self.inbox is not None:
            self.inbox.close()

    def _interrupt(self) -> None:
        if self.inbox is not None:
            self.inbox.interrupt()
        else:
            self._bell.set()

    def _work(self) -> None:
        failing = ""
        looks = 0
        next_look = 0.0
        while not self._closing:
            try:
                if not self._home.has_waiters():
                    self._rest()
                    continue
                self._listen(max(0.0, next_look - time.monotonic()))
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + POLL
                    looks += 1
                    self._home.look()
                    if looks % _TIDY_EVERY == 0:
                        self._home.tidy()
                failing = ""
            except BaseException as error:
                if failing != repr(error) and not self._closing:
                    _logger.warning("the store cannot be listened to; said once", exc_info=error)
                failing = repr(error)
                self._bell.wait(POLL)

    def _rest(self) -> None:
        self._bell.clear()
        self._resting = True
        # Who lay down meanwhile did not see that this rests.
        if not self._home.has_waiters() and not self._closing:
            self._bell.wait(_REST)
        self._resting = False

    def _listen(self, timeout: float) -> None:
        topics = self._receive(timeout)
        if topics or topics is None:
            self._hear(topics)
        if self._spreading:
            time.sleep(SPREAD)
            self._spreading = False
            self._hear(self._receive(0.0))
            self._home.spread()

    def _hear(self, topics: list[str] | None) -> None:
        if topics is None:
            # So many came that others were lost; the table has all of them.
            self._home.look()
        elif topics:
            self._home.hear(dict.fromkeys(topics))

    def _receive(self, timeout: float) -> list[str] | None:
        if self.inbox is not None:
            return self.inbox.receive(timeout)
        self._bell.wait(timeout)
        self._bell.clear()
        return []
