"""The line between a supervisor and its children: a byte for each thing to say.

It needs no signals, so it works everywhere; and its end tells a child that the supervisor is
gone, however it died.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from flask_later.runtime.threads import start_thread


class Order(Enum):
    """What a child is told."""

    #: Take no more, wait for what runs, and end.
    STOP = b"s"
    #: Give back what runs, and end at once.
    NOW = b"n"
    #: It is your turn to be replaced.
    RECYCLE = b"r"


class News(Enum):
    """What a supervisor is told."""

    #: The child works.
    WORKING = b"w"
    #: The child would like to be replaced.
    SPENT = b"s"


class Tether:
    """The child's end. Orders come through its standard input, which nobody else reads then.

    :param news: the descriptor to which news go; None where none could be handed over (Windows).
    """

    def __init__(self, news: int | None) -> None:
        self._news = news
        if news is not None:
            # What jobs start has no business with it.
            os.set_inheritable(news, False)
        self._orders = os.dup(0)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)

    def listen(self, heard: Callable[[Order], None]) -> None:
        """Pass every order on to *heard*, on a thread; the end of the line is a STOP."""
        start_thread("later-tether", lambda: self._listen(heard))

    def say(self, news: News) -> bool:
        """Tell the supervisor; returns whether it may have heard."""
        if self._news is None:
            return False
        with suppress(OSError):
            return os.write(self._news, news.value) == 1
        return False

    def _listen(self, heard: Callable[[Order], None]) -> None:
        while byte := os.read(self._orders, 1):
            heard(Order(byte))
        heard(Order.STOP)
