"""Add jobs one by one until no more may wait; print how many."""

import sys
from contextlib import suppress

from flask_later.core.clock import SystemClock
from flask_later.core.store import Limits
from flask_later.errors import QueueFullError
from flask_later.stores.sql import SQLStore
from flask_later.testing.records import make_record

store = SQLStore(sys.argv[1], SystemClock(), Limits(max_pending=int(sys.argv[2])))
store.open()
print("ready", flush=True)
sys.stdin.readline()
added = 0
with suppress(QueueFullError):
    while True:
        store.add([make_record()])
        added += 1
print(added)
store.close()
