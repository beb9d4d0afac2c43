"""Who is dead, by the locks of the SQLite store: real processes that end, stop, or go on."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import LEASE, WorkerRecord
from flask_later.stores.sqlite import SQLiteStore
from flask_later.stores.sqlite.locks import lock_file
from flask_later.stores.sqlite.workers import HUNG_AFTER
from flask_later.testing.records import START, make_record

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")

# Claims a job, does what it is told, and tells what became of settling it.
WORK = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.core.store import WorkerRecord
from flask_later.stores.sqlite import SQLiteStore

store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()
store.register(WorkerRecord("theirs", "host", os.getpid(), datetime.now(UTC)))
(job,) = store.exchange("theirs", (), Want(1)).claimed
print("running", flush=True)
if sys.stdin.readline() == "fork\\n":
    if os.fork() == 0:
        print("forked", flush=True)
        sys.stdin.read()
        os._exit(0)
    sys.stdin.readline()
done = store.exchange("theirs", [Succeeded(Claim(job.id, job.fence), "1")], NOTHING).done
print("done" if done else "stale", flush=True)
"""
SWEEP = """
import sys
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.stores.sqlite import SQLiteStore

store = SQLiteStore(Path(sys.argv[1]), SystemClock())
store.open()
print(store.sweep(100, {}).rescued)
"""


class Theirs:
    """A worker in another process, which runs a job."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert self.hear() == "running"

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def theirs(store: SQLiteStore, path: Path) -> Iterator[Theirs]:
    store.add([make_record(at=SystemClock().now())])
    with subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", WORK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Theirs(process)
        process.kill()


def sweep_elsewhere(path: Path) -> int:
    """Let a new process sweep; return how many attempts it rescued."""
    return int(subprocess.check_output([sys.executable, "-c", SWEEP, str(path)], text=True))


def start_here(store: SQLiteStore, worker: str = "ours") -> JobRecord:
    """Claim a new job by a worker of this process."""
    store.register(WorkerRecord(worker, "host", os.getpid(), SystemClock().now()))
    (added,) = store.add([make_record(at=SystemClock().now())])
    (running,) = store.exchange(worker, (), Want(1)).claimed
    assert running.id == added.record.id
    return running


def change(path: Path, assignment: str) -> None:
    """Set something of every worker's row."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(f"UPDATE worker SET {assignment}")


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """Have *process* stand still."""
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_killed_workers_job_runs_again_with_the_next_sweep(
    store: SQLiteStore, theirs: Theirs
) -> None:
    """Not before, and once; the crash is counted."""
    assert store.sweep(100, {}).rescued == 0
    theirs.kill()
    assert [worker.id for worker in store.workers()] == []
    assert [store.sweep(100, {}).rescued for _ in range(2)] == [1, 0]
    (record,) = store.find().records
    assert (record.state, record.crashes, record.fence) == (JobState.QUEUED, 1, 2)


def test_the_first_process_after_a_crash_of_all_finds_the_jobs(
    store: SQLiteStore, path: Path, theirs: Theirs
) -> None:
    """It has nothing to wait for."""
    store.close()
    theirs.kill()
    assert sweep_elsewhere(path) == 1


def test_a_stopped_process_keeps_its_job(store: SQLiteStore, path: Path, theirs: Theirs) -> None:
    """Its lock says that it may go on, for as long as its beats may be late."""
    with stopped(theirs.process):
        change(path, f"beat = beat - {HUNG_AFTER - 10}")
        assert store.sweep(100, {}).rescued == 0
    theirs.tell("settle")
    assert theirs.hear() == "done"


def test_a_hung_process_loses_its_job(
    store: SQLiteStore, path: Path, theirs: Theirs, caplog: pytest.LogCaptureFixture
) -> None:
    """An error names it; what it still reports is stale."""
    with stopped(theirs.process):
        change(path, f"beat = beat - {HUNG_AFTER + 1}")
        assert store.sweep(100, {}).rescued == 1
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert f"worker theirs (process {theirs.process.pid} on host)" in record.getMessage()
    theirs.tell("settle")
    assert theirs.hear() == "stale"


def test_a_living_pid_proves_nothing(store: SQLiteStore, path: Path, theirs: Theirs) -> None:
    """The number of a dead process may be another's by now."""
    theirs.kill()
    change(path, f"pid = {os.getpid()}")
    assert store.sweep(100, {}).rescued == 1


def test_a_child_of_a_dead_worker_does_not_hold_its_lock(
    store: SQLiteStore, theirs: Theirs
) -> None:
    """What a task forked may live on for long."""
    theirs.tell("fork")
    assert theirs.hear() == "forked"
    theirs.kill()
    assert store.sweep(100, {}).rescued == 1


def test_the_jobs_of_another_boot_run_again_at_once(
    store: SQLiteStore, path: Path, theirs: Theirs
) -> None:
    """No process survives the restart of its machine; its beats may seem to lie ahead."""
    theirs.kill()
    change(path, "boot = 'another', beat = beat + 100000")
    assert store.sweep(100, {}).rescued == 1


def test_a_worker_that_sees_another_boot_id_is_alive(
    store: SQLiteStore, path: Path, theirs: Theirs
) -> None:
    """Some containers have boot ids of their own. That its lock is held proves more."""
    change(path, "boot = 'another', beat = 0")
    assert store.sweep(100, {}).rescued == 0


@pytest.mark.parametrize("lock", ["NULL", "lock_inode + 1"], ids=["none", "elsewhere"])
def test_a_worker_without_a_lock_here_is_judged_by_its_beats(
    store: SQLiteStore, path: Path, theirs: Theirs, lock: str
) -> None:
    """A system without such locks, or a lock file that was taken away."""
    change(path, f"lock_inode = {lock}, beat = beat - {LEASE - 10}")
    assert store.sweep(100, {}).rescued == 0
    change(path, "beat = beat - 11")
    assert store.sweep(100, {}).rescued == 1


def test_two_stores_on_one_file_share_their_locks(store: SQLiteStore, path: Path) -> None:
    """To close one does not free the slots of the other."""
    start_here(store)
    second = SQLiteStore(path, SystemClock())
    second.open()
    start_here(second, "second")
    assert second.sweep(100, {}).rescued == 0
    second.close()
    assert sweep_elsewhere(path) == 0
    assert {worker.id for worker in store.workers()} == {"ours", "second"}


def test_a_retired_worker_frees_its_slot(store: SQLiteStore, path: Path) -> None:
    """A process that starts and stops workers for years holds the locks of those it has."""
    locks = lock_file(path)
    for number in range(3):
        store.register(WorkerRecord(f"w{number}", "host", 1, START))
        store.retire(f"w{number}")
    assert [locks.is_mine(slot) for slot in range(1, 5)] == [False] * 4


def test_a_slot_is_locked_before_anyone_sees_it(store: SQLiteStore, path: Path) -> None:
    """And found again when the transaction has to be repeated."""
    workers, locks = store._workers, lock_file(path)
    db = store._connections.get()
    for end in ("ROLLBACK", "COMMIT"):
        db.execute("BEGIN IMMEDIATE")
        workers.register(db, WorkerRecord("w", "host", 1, START))
        assert locks.is_mine(1)
        db.execute(end)
    assert [worker.id for worker in store.workers()] == ["w"]
    assert not locks.is_mine(2)


def test_a_slot_that_somebody_still_holds_is_passed_over(store: SQLiteStore, path: Path) -> None:
    """His transaction was undone, his lock not yet."""
    lock_file(path).try_take(1)
    store.register(WorkerRecord("w", "host", 1, START))
    lock_file(path).release(1)
    assert [worker.id for worker in store.workers()] == ["w"]


def test_a_child_has_slots_of_its_own(store: SQLiteStore) -> None:
    """Its end frees them and not its parent's."""
    start_here(store)
    child = os.fork()
    if child == 0:
        store.open()
        start_here(store, "child")
        os._exit(store.sweep(100, {}).rescued)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.sweep(100, {}).rescued == 1
    assert [worker.id for worker in store.workers()] == ["ours"]


def test_a_lost_lock_file_is_replaced(
    store: SQLiteStore, path: Path, theirs: Theirs, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is taken for dead meanwhile, and with the next beat a lock is a proof again."""
    ours = start_here(store)
    Path(f"{path}-lock").unlink()
    assert sweep_elsewhere(path) == 0
    assert store.sweep(100, {}).rescued == 0
    (record,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert f"{path}-lock was deleted" in record.getMessage()
    assert dict(store.note("ours", [Claim(ours.id, ours.fence)], [])) == {}
    change(path, "beat = beat - 100")
    assert sweep_elsewhere(path) == 1, "theirs, which has not beaten since"
    assert [worker.id for worker in store.workers()] == ["ours"]
    assert list(store.exchange("ours", [Succeeded(Claim(ours.id, ours.fence), "1")], NOTHING).done)
