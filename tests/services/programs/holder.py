"""Claim a job, print its id, and live until somebody kills this process."""

import sys
from datetime import UTC, datetime

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Want
from flask_later.core.store import WorkerRecord
from flask_later.stores.sql import SQLStore

store = SQLStore(sys.argv[1], SystemClock())
store.open()
store.register(WorkerRecord("victim", "localhost", 1, datetime.now(UTC)))
(job,) = store.exchange("victim", (), Want(1)).claimed
print(job.id, flush=True)
sys.stdin.readline()
