"""Fork with connections in use; parent and child go on, each with its own."""

import os
import sys
import threading

from flask_later.core.clock import SystemClock
from flask_later.stores.sql import SQLStore
from flask_later.testing.records import make_record

store = SQLStore(sys.argv[1], SystemClock())
store.open()
store.add([make_record()])

# A thread that listens and waits, and that the child does not have.
waiting = threading.Thread(target=store.wait, args=(["nothing"], 30.0), daemon=True)
waiting.start()
while not store._waiting.has_waiters():
    store.find()

child = os.fork()
if child == 0:
    store.open()
    store.add([make_record()])
    assert len(store.find().records) == 2
    store.wait(["nothing"], 0.01)
    store.close()
    # As a process ends that was not forked: with everything that it has inherited.
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
# The connections of the parent are as they were.
store.add([make_record()])
assert len(store.find().records) == 3
assert waiting.is_alive()
store.wake(())
waiting.join(10)
assert not waiting.is_alive()
store.close()
