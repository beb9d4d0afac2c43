"""Fork while a thread waits, and add a job in the child, which does nothing else."""

import os
import sys
import threading

from flask_later.core.clock import SystemClock
from flask_later.stores.sql import SQLStore, ears
from flask_later.testing.records import make_record

# The parent does not find out by itself.
ears.NotifiedEar.poll = 1000.0
store = SQLStore(sys.argv[1], SystemClock())
store.open()


def sleep() -> None:
    while not store._waiting._has_something("default"):
        store.wait(["default"], 60.0)


waiting = threading.Thread(target=sleep, daemon=True)
waiting.start()
while not store._waiting.has_waiters():
    store.find()

child = os.fork()
if child == 0:
    store.add([make_record()])
    store.wake(["default"])
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
waiting.join(10)
print("asleep" if waiting.is_alive() else "woken", flush=True)
os._exit(0)
