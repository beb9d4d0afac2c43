"""The SQLite store among processes: many that start at once, that share, that die, that fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.sqlite.files import opened, raw

from flask_later.testing.records import make_record

PROCESSES = 8


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start *program* in another Python."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process: subprocess.Popen[str]) -> str:
    """Return what *process* printed; it has to end well."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.strip()


START_UP = """
import sys
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

print("ready", flush=True)
sys.stdin.readline()
store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()
store.add([make_record() for _ in range(10)])
print(store.identity)
store.close()
"""


def test_many_processes_start_at_once_on_a_fresh_file(path: Path) -> None:
    """One makes the tables; all see the same store."""
    processes = [python(START_UP, path) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    names = {output_of(process) for process in processes}
    store = opened(path)
    assert names == {store.identity}
    assert len(store.find(limit=1000).records) == 10 * PROCESSES
    store.close()


WORK = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Claim, Succeeded, Want
from flask_later.core.store import WorkerRecord
from flask_later.stores.sqlite import SQLiteStore

store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()
worker = sys.argv[2]
store.register(WorkerRecord(worker, "localhost", 1, datetime.now(UTC)))
outcomes = []
while True:
    done = store.exchange(worker, outcomes, Want(1))
    if not done.claimed:
        break
    (job,) = done.claimed
    print(job.id)
    outcomes = [Succeeded(Claim(job.id, job.fence), "1")]
store.retire(worker)
store.close()
"""


def test_processes_share_the_jobs(path: Path) -> None:
    """Each job is run once, by one of them."""
    store = opened(path)
    ids = {added.record.id for added in store.add([make_record() for _ in range(200)])}
    processes = [python(WORK, path, f"w{number}") for number in range(2)]
    ran = [job_id for process in processes for job_id in output_of(process).split()]
    assert sorted(ran) == sorted(ids)
    assert {record.state for record in store.find(limit=1000).records} == {"succeeded"}
    store.close()


FORK = """
import os, sys, threading
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.stores.sqlite import SQLiteStore, connection
from flask_later.testing.records import make_record

store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()
store.add([make_record()])
store.find()
raw = store._connections.get()._raw
writing = store._writer._connect()._raw

# A connection of a thread that the child does not have.
asked, leave = threading.Event(), threading.Event()
def ask():
    store.add([make_record()])
    store.find()
    asked.set()
    leave.wait()
thread = threading.Thread(target=ask)
with store._read():
    thread.start()
    asked.wait()

child = os.fork()
if child == 0:
    assert len(connection._graveyard) == 3, connection._graveyard
    assert {raw, writing} <= {*connection._graveyard}
    if sys.argv[2] == "open":
        store.open()
        store.add([make_record()])
        assert store._connections.get()._raw is not raw
        assert store._writer._connect()._raw is not writing
        store.close()
    raw.execute("SELECT 1")
    writing.execute("SELECT 1")
    # Ends as a worker of a server does: the interpreter clears away everything it knows.
    thread._tstate_lock = None
    sys.exit(0)
_, status = os.waitpid(child, 0)
leave.set()
thread.join()
assert os.waitstatus_to_exitcode(status) == 0
assert Path(sys.argv[1] + "-wal").exists(), "the child deleted the WAL"
for _ in range(10):
    store.add([make_record()])
assert store._connections.get()._raw is raw
assert store._writer._connect()._raw is writing
print(len(store.find().records))
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(("child", "jobs"), [("open", 13), ("ignore", 12)])
def test_a_connection_never_crosses_a_fork(path: Path, child: str, jobs: int) -> None:
    """The child has its own and closes none of its parent's, whether or not it uses the store."""
    assert output_of(python(FORK, path, child)) == str(jobs)
    with raw(path) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# New files again and again: threads open the store, and a fork comes somewhere in between.
FORK_WHILE_OPENING = """
import os, random, signal, sys, threading, time
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

def store_one(path):
    store = SQLiteStore(path, SystemClock())
    store.open()
    store.add([make_record()])

for number in range(30):
    path = Path(sys.argv[1], f"{number}.sqlite3")
    threads = [threading.Thread(target=store_one, args=(path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(random.Random(number).uniform(0, 0.01))
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        store_one(path)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == 0, (number, ended)
    for thread in threads:
        thread.join()
    # Held: with the store its connections go, whenever that is.
    store = SQLiteStore(path, SystemClock())
    with store._connections.get().read() as db:
        assert db.one("SELECT count(*) FROM job") == (4,), number
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_other_threads_make_the_file_ready(tmp_path: Path) -> None:
    """It waits for them: the child would find SQLite locked by a thread that it does not have."""
    assert output_of(python(FORK_WHILE_OPENING, tmp_path)) == "done"
