"""The logger of every part: saying what happens must not change what happens."""

from __future__ import annotations

import logging
from typing import Any


class Log(logging.LoggerAdapter[logging.Logger]):
    """The logger called *name*, whose handlers and filters harm nobody.

    ``logging`` leaves it to each handler to bear its own errors, and not all do. One that raises
    because its disk is full would end a worker's thread, or an outcome that is about to be stored.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name))

    def log(self, level: int, msg: object, *args: Any, **facts: Any) -> None:
        if not self.isEnabledFor(level):
            return
        # The line that is shown is the caller's, not this one.
        facts["stacklevel"] = facts.get("stacklevel", 1) + 1
        try:
            self.logger.log(level, msg, *args, **facts)
        except KeyboardInterrupt:
            raise
        except BaseException:
            # There is nobody left to tell.
            return
