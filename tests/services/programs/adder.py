"""Open the store at once with others, add jobs, print its identity."""

import sys

from flask_later.core.clock import SystemClock
from flask_later.stores.sql import SQLStore
from flask_later.testing.records import make_record

store = SQLStore(sys.argv[1], SystemClock())
print("ready", flush=True)
sys.stdin.readline()
store.open()
store.add([make_record() for _ in range(10)])
print(store.identity)
store.close()
