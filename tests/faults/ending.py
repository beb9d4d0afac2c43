"""A script that leaves work behind when it ends: ``python ending.py COUNT``. Its exit code is 3."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from app import create_app, hold, later
from events import EventLog, record

app = create_app()
later.start(app)
with app.app_context():
    for number in range(int(sys.argv[1])):
        hold.enqueue(f"never-{number}")
EventLog(Path(os.environ["LIVE_EVENTS"])).wait_for("start")
record("ending")
sys.exit(3)
