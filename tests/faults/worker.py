"""A process that runs jobs until it is told to stop: ``python worker.py``."""

from __future__ import annotations

import signal
from contextlib import suppress

from app import create_app, later
from events import record

later.start(create_app())
record("working")
with suppress(KeyboardInterrupt):
    while True:
        signal.pause()
