"""The SQLite store on a disk that is really full: a small one that only its process sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from datetime import timedelta
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.core.job import JobState
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.core.store import Limits
from flask_later.errors import StoreFullError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

folder = Path(sys.argv[1])
keep = {state: timedelta(0) for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)}
clock = SystemClock()
store = SQLiteStore(folder / "later.sqlite3", clock, Limits(keep=keep))
store.open()
now = clock.now()
store.add([make_record(at=now, payload="x" * 500) for _ in range(400)])

# The disk fills up.
with (folder / "ballast").open("wb", buffering=0) as ballast:
    for size in (65536, 4096, 1):
        try:
            while True:
                ballast.write(b"x" * size)
        except OSError:
            pass
print("free", os.statvfs(folder).f_bavail)

refused = make_record(at=now, payload="x" * 50_000)
more = [make_record(at=now, payload="x" * 50_000) for _ in range(60)]
try:
    store.add([refused, *more])
except StoreFullError as error:
    print("refused", "later.sqlite3: the disk is full" in str(error))
print("stored", len(store.get([refused.id])))

settled = 0
while claimed := store.exchange("w", (), Want(1)).claimed:
    (job,) = claimed
    done = store.exchange("w", [Succeeded(Claim(job.id, job.fence), "1")], NOTHING).done
    settled += len(done)
print("settled", settled)
store.sweep(1000, {})
print("pruned", 400 - len(store.find(limit=1000).records))
print("room of what was pruned", store.add([make_record(at=now)])[0].created)

(folder / "ballast").unlink()
print("room again", store.add([refused, *more])[0].created)
((check,),) = store._connections.get().all("PRAGMA integrity_check")
print(check)
"""
# As with LATER_MIN_FREE = 0: the jobs themselves take all there is.
TO_THE_BRIM = """
import subprocess, sys
from pathlib import Path
from flask_later.core.clock import SystemClock
from flask_later.core.exchange import NOTHING, Claim, Succeeded, Want
from flask_later.errors import StoreFullError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.testing.records import make_record

folder = Path(sys.argv[1])
clock = SystemClock()
store = SQLiteStore(folder / "later.sqlite3", clock)
store.open()
stored = set()
for size in (6_000, 500, 20):
    try:
        while True:
            (added,) = store.add([make_record(at=clock.now(), payload="x" * size)])
            stored.add(added.record.id)
    except StoreFullError:
        pass
try:
    claimed = store.exchange("w", (), Want(1)).claimed
except StoreFullError:
    claimed = ()
print("all there", stored == {record.id for record in store.find(limit=1000).records})
subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
settled = set()
while claimed := claimed or store.exchange("w", (), Want(1)).claimed:
    (job,) = claimed
    done = store.exchange("w", [Succeeded(Claim(job.id, job.fence), "1")], NOTHING).done
    settled.update(claim.job_id for claim in done)
    claimed = ()
print("all settled", settled == stored)
"""
SCRIPT = 'mount -t tmpfs -o size=6m tmpfs "$1" && exec "$2" -c "$3" "$1"'


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a disk where nobody else sees it."""
    if os.name == "nt" or not shutil.which("unshare"):
        return False
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def said_on_a_small_disk(folder: Path, program: str) -> list[str]:
    """What *program* prints, line by line, with a disk of 6 MB in *folder*."""
    if not can_mount(folder):
        pytest.skip("needs the right to mount a disk of its own")
    process = subprocess.run(
        ["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(folder), sys.executable, program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def test_a_full_disk_refuses_jobs_and_keeps_outcomes(tmp_path: Path) -> None:
    """What is done is kept, what is old is deleted, and with room again all goes on."""
    assert said_on_a_small_disk(tmp_path, PROGRAM) == [
        "free 0",
        "refused True",
        "stored 0",
        "settled 400",
        "pruned 400",
        "room of what was pruned True",
        "room again True",
        "ok",
    ]


def test_a_disk_that_jobs_have_filled_loses_none(tmp_path: Path) -> None:
    """With LATER_MIN_FREE = 0 hardly any is run until there is room; then all of them are."""
    assert said_on_a_small_disk(tmp_path, TO_THE_BRIM) == [
        "all there True",
        "all settled True",
    ]
