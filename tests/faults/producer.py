"""A process that enqueues: ``python producer.py TASK COUNT PAUSE [ARGUMENT]``."""

from __future__ import annotations

import json
import sys
import time

from app import TASKS, create_app, produce
from events import record

name, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
arguments = [json.loads(text) for text in sys.argv[4:]]
with create_app().app_context():
    for _ in range(count):
        produce(TASKS[name], *arguments)
        time.sleep(pause)
record("produced", count=count)
