"""A producer that says how far the log reached when each enqueue returned: ``powered.py COUNT``.

It reads the log's own file, which has no locks, and never the database's.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from app import create_app, effect, produce
from events import record
from wal import Wal

path = Path(os.environ["LIVE_INSTANCE"]) / "later.sqlite3"
with create_app().app_context():
    for _ in range(int(sys.argv[1])):
        job = produce(effect)
        record("reached", job=job, frames=Wal.of(path).frames)
record("produced")
# The power is cut: nobody closes the file.
os.kill(os.getpid(), signal.SIGKILL)
