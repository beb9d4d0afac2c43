"""A process that enqueues: ``python producer.py TASK[@DELAY] COUNT PAUSE [ARGUMENT]``."""

from __future__ import annotations

import json
import sys
import time

from app import TASKS, create_app, produce
from events import record

(name, _, delay), count, pause = sys.argv[1].partition("@"), int(sys.argv[2]), float(sys.argv[3])
arguments = [json.loads(text) for text in sys.argv[4:]]
with create_app().app_context():
    task = TASKS[name].using(delay=float(delay)) if delay else TASKS[name]
    for _ in range(count):
        produce(task, *arguments)
        time.sleep(pause)
record("produced", count=count)
