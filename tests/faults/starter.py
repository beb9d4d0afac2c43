"""Opens one file after another at the same moment as others do: ``starter.py ROUNDS``."""

from __future__ import annotations

import sys
import time

from app import create_app, effect, is_open, produce
from events import record

for number in range(int(sys.argv[1])):
    app = create_app(LATER_STORE=f"sqlite:///{number}.sqlite3")
    record("ready", number=number)
    while not is_open(str(number)):
        time.sleep(0.001)
    with app.app_context():
        produce(effect)
    record("opened", number=number)
