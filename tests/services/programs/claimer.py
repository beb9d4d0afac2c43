"""Run all jobs there are, in batches; print the ids of those that this process ran."""

import sys
from datetime import UTC, datetime

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Claim, Outcome, Succeeded, Want
from flask_later.core.store import WorkerRecord
from flask_later.stores.sql import SQLStore

store = SQLStore(sys.argv[1], SystemClock())
store.open()
worker = sys.argv[2]
store.register(WorkerRecord(worker, "localhost", 1, datetime.now(UTC)))
print("ready", flush=True)
sys.stdin.readline()
outcomes: list[Outcome] = []
while True:
    done = store.exchange(worker, outcomes, Want(7))
    assert len(done.done) == len(outcomes), done
    outcomes = [Succeeded(Claim(job.id, job.fence), "1") for job in done.claimed]
    print(*(job.id for job in done.claimed), sep="\n")
    if not outcomes and not any(stats.oldest_run_at for stats in store.stats()):
        break
store.retire(worker)
store.close()
