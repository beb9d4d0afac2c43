"""The locks beside the file: what they keep out, and what drops them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flask_later.errors import StoreBusyError
from flask_later.stores.sqlite.locks import CHECKPOINT, INIT, LockFile, lock_file

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")

HOLD = """
import sys
from pathlib import Path
from flask_later.stores.sqlite.locks import lock_file

locks = lock_file(Path(sys.argv[1]))
print(locks.try_take(int(sys.argv[2])), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def locks(path: Path) -> LockFile:
    return lock_file(path)


@contextmanager
def another(path: Path, byte: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that has *byte*."""
    command = [sys.executable, "-c", HOLD, str(path), str(byte)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def child_exits_with(act: object) -> int:
    """Fork; return what the child's call of *act* makes of its exit code."""
    child = os.fork()
    if child == 0:
        os._exit(act())  # type: ignore[operator]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("byte", [INIT, CHECKPOINT, 7])
def test_a_byte_is_taken_once(path: Path, locks: LockFile, byte: int) -> None:
    """Among processes, and among the threads of one; the others are free."""
    with another(path, byte):
        assert not locks.try_take(byte)
        assert locks.try_take(8)
        assert not locks.try_take(8)


def test_a_dead_process_holds_nothing(path: Path, locks: LockFile) -> None:
    """The kernel sees to it; nobody has to wait for a beat."""
    with another(path, 7) as process:
        assert locks.is_taken_elsewhere(7)
        process.kill()
        process.wait()
        assert not locks.is_taken_elsewhere(7)


def test_asking_for_a_byte_of_our_own_keeps_it(path: Path, locks: LockFile) -> None:
    """It is nobody else's."""
    locks.try_take(7)
    assert not locks.is_taken_elsewhere(7)
    assert locks.is_mine(7)
    with pytest.raises(AssertionError), another(path, 7):
        pass
    locks.release(7)


def test_what_is_not_held_can_be_released(locks: LockFile) -> None:
    """Who cleans up does not have to know."""
    locks.release(7)
    assert locks.try_take(7)
    locks.release(7)
    assert locks.try_take(7)


def test_waiting_for_a_byte_ends(path: Path, locks: LockFile) -> None:
    """With an error after the patience, or as soon as the byte is free."""
    with another(path, INIT) as process:
        with pytest.raises(StoreBusyError):
            locks.take(INIT, 0.05)
        killer = threading.Timer(0.1, process.kill)
        killer.start()
        locks.take(INIT, 10)
        killer.join()


def test_there_is_one_descriptor_for_a_file(path: Path, tmp_path: Path, locks: LockFile) -> None:
    """By whatever name it is called, or the second one's close would drop the first one's locks."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert lock_file(path) is locks
    assert lock_file(tmp_path / "link" / path.name) is locks


def test_a_lock_file_that_was_taken_away_is_noticed(path: Path, locks: LockFile) -> None:
    """Who comes after that locks another file."""
    assert not locks.is_lost
    Path(f"{path}-lock").unlink()
    assert locks.is_lost
    assert lock_file(path) is not locks
    assert locks.is_lost


def test_a_child_holds_nothing_of_its_parents(locks: LockFile) -> None:
    """What the parent has is taken, and stays so when the child takes, frees and ends."""
    locks.try_take(7)

    def look() -> int:
        alone = locks.is_taken_elsewhere(7) and not locks.is_mine(7) and not locks.try_take(7)
        locks.release(7)
        return 0 if alone and locks.try_take(8) else 1

    assert child_exits_with(look) == 0
    assert child_exits_with(lambda: 0 if locks.is_taken_elsewhere(7) else 1) == 0
    assert not locks.is_taken_elsewhere(8)


def test_the_lock_file_is_for_its_owner_only(path: Path) -> None:
    """Whoever can lock it can make workers look alive."""
    before = os.umask(0)
    try:
        lock_file(path)
    finally:
        os.umask(before)
    assert Path(f"{path}-lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do it")
def test_root_does_not_keep_out_whose_the_store_is(path: Path) -> None:
    """Typing a command as root makes the lock file, perhaps, which the app has to open later."""
    path.touch()
    os.chown(path, 4711, 4712)
    lock_file(path)
    made = Path(f"{path}-lock").stat()
    assert (made.st_uid, made.st_gid) == (4711, 4712)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do it")
def test_root_gives_away_nothing_that_was_there(path: Path, tmp_path: Path) -> None:
    """It may be a link to anything."""
    path.touch()
    os.chown(path, 4711, 4711)
    precious = tmp_path / "precious"
    precious.touch()
    Path(f"{path}-lock").symlink_to(precious)
    lock_file(path)
    assert precious.stat().st_uid == 0
