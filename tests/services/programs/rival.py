"""Add a job for each of many unique keys, one by one; print the keys that this process got."""

import sys

from flask_later.core.clock import SystemClock
from flask_later.stores.sql import SQLStore
from flask_later.testing.records import make_record

store = SQLStore(sys.argv[1], SystemClock())
store.open()
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    # Two at a time, in one order here and in the other there.
    keys = [f"key-{number}", f"key-{number + 1}"][:: int(sys.argv[3])]
    for added in store.add([make_record(unique_key=key) for key in keys]):
        if added.created:
            print(added.record.unique_key)
store.close()
