"""Wake-ups from process to process: at once by a datagram, in half a second without one."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from tests.shop import PATIENCE, until

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Claim, Succeeded, Want
from flask_later.core.store import DUE, WorkerRecord
from flask_later.stores import listener, waiting
from flask_later.stores.sqlite import SQLiteStore, peers, wakeups
from flask_later.stores.sqlite.connection import Connection
from flask_later.testing.records import make_record

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets here")

#: Enough for a datagram, and less than the poll of those tests that prove one.
AT_ONCE = PATIENCE
NEVER = 100 * PATIENCE


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself: only a datagram can end a wait."""
    monkeypatch.setattr(wakeups.Inbox, "poll", NEVER)


@contextmanager
def sleeping(store: SQLiteStore, topic: str) -> Iterator[None]:
    """A thread that waits for *topic*, and that the block has to wake."""

    def sleep() -> None:
        while not stop.is_set() and not store._waiting._has_something(topic):
            store.wait([topic], NEVER)
        woken.set()

    woken, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    until(lambda: store._waiting._waiters.any_for([topic]))
    try:
        yield
        assert woken.wait(AT_ONCE), "nobody woke the thread"
    finally:
        stop.set()
        store.wake(())
        thread.join(PATIENCE)


def elsewhere(path: Path, program: str, *arguments: object) -> str:
    """Run *program* in another process with a store on the same file; return what it printed."""
    head = (
        "import sys, threading; from pathlib import Path; "
        "from flask_later.core.clock import SystemClock; "
        "from flask_later.core.exchange import Claim, Succeeded, Want; "
        "from flask_later.core.store import WorkerRecord; "
        "from flask_later.stores.sqlite import SQLiteStore; "
        "from flask_later.testing.records import make_record, START; "
        "store = SQLiteStore(Path(sys.argv[1]), SystemClock()); store.open()\n"
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + program]
    done = subprocess.run(
        [*command, str(path), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def listeners(store: SQLiteStore) -> list[str]:
    """Return the addresses in the file."""
    with store._read() as db:
        return [name for (name,) in db.all("SELECT address FROM listener")]


def listening_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "later-listener"]


# At once


def test_a_job_of_another_process_wakes_at_once(
    no_poll: None, store: SQLiteStore, path: Path
) -> None:
    """Whoever enqueues sends a datagram to those who wait for that queue."""
    with sleeping(store, "default"):
        elsewhere(path, "store.add([make_record()]); store.wake(['default'])")


def test_a_job_that_ends_in_another_process_wakes_at_once(
    no_poll: None, store: SQLiteStore, path: Path
) -> None:
    """Nobody has to call wake, as within one process."""
    (added,) = store.add([make_record()])
    settle = """
store.register(WorkerRecord("w", "localhost", 1, START))
(job,) = store.exchange("w", (), Want(1)).claimed
store.exchange("w", [Succeeded(Claim(job.id, job.fence), "1")], Want(0))
"""
    with sleeping(store, added.record.id):
        elsewhere(path, settle)


def test_a_delay_of_another_process_wakes_who_stages(
    no_poll: None, store: SQLiteStore, path: Path
) -> None:
    """The process that enqueues may have nobody who looks after what falls due."""
    with sleeping(store, DUE):
        elsewhere(path, "store.add([make_record(delay=10)])")


def test_many_jobs_that_end_together_wake_too(
    no_poll: None, store: SQLiteStore, path: Path
) -> None:
    """More of them than a datagram names."""
    added = store.add([make_record() for _ in range(200)])
    discard = """
store.register(WorkerRecord("w", "localhost", 1, START))
jobs = store.exchange("w", (), Want(1000)).claimed
store.exchange("w", [Succeeded(Claim(job.id, job.fence), "1") for job in jobs], Want(0))
"""
    with sleeping(store, added[150].record.id):
        elsewhere(path, discard)


def test_a_socket_may_be_a_file(
    no_poll: None, store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where names without a file are unknown: for its owner only, and gone with the process."""
    monkeypatch.setattr(wakeups, "_HAS_ABSTRACT", False)
    with sleeping(store, "default"):
        (file,) = path.parent.glob("*-wake-*")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        elsewhere(path, "store.add([make_record()]); store.wake(['default'])")
    store.close()
    assert not list(path.parent.glob("*-wake-*"))


# Without a datagram


def test_a_lost_datagram_loses_no_job(store: SQLiteStore, path: Path) -> None:
    """One thread looks from time to time, and wakes those who have something."""
    with sleeping(store, "default"):
        elsewhere(path, "store.add([make_record()])")


def test_a_place_without_sockets_looks_from_time_to_time(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""

    def refuse(path: Path, app: str) -> NoReturn:
        raise OSError("no sockets")

    monkeypatch.setattr(peers, "Inbox", refuse)
    with sleeping(store, "default"):
        elsewhere(path, "store.add([make_record()]); store.wake(['default'])")
    assert not listeners(store)


def test_a_locked_file_does_not_hold_up_who_waits(store: SQLiteStore, path: Path) -> None:
    """Nobody can be told of it then; it looks from time to time."""
    impatient = SQLiteStore(path, SystemClock(), patience=0.05)
    impatient.open()
    with store._writer._turn:
        store._writer._connect()._raw.execute("BEGIN IMMEDIATE")
        waited = threading.Thread(target=impatient.wait, args=(["default"], 0.1))
        waited.start()
        waited.join(PATIENCE)
        assert not waited.is_alive()
        store._writer._connect()._raw.execute("ROLLBACK")
    impatient.close()


def test_who_rests_is_woken_by_what_may_need_it(store: SQLiteStore, path: Path) -> None:
    """Maintenance sleeps long while nothing waits and nothing runs, but not longer than that."""
    assert store.sweep(100, {}).calm
    store.wait([DUE], 0.6)
    woken = threading.Thread(target=store.wait, args=([DUE], NEVER))
    woken.start()
    elsewhere(path, "store.add([make_record()])")
    woken.join(PATIENCE)
    assert not woken.is_alive()


def test_who_rests_is_not_woken_by_anything_else(store: SQLiteStore, path: Path) -> None:
    """Each of many idle processes beats: the others need not sweep because of that."""
    assert store.sweep(100, {}).calm
    woken = threading.Thread(target=store.wait, args=([DUE], NEVER))
    woken.start()
    until(lambda: store._peers._seen[0] is not None)
    seen = store._peers._seen
    elsewhere(path, "store.register(WorkerRecord('w', 'localhost', 1, START))")
    until(lambda: store._peers._seen != seen)
    assert woken.is_alive()
    store.wake([DUE])
    woken.join(PATIENCE)


# The thread, the socket and the row


def test_who_only_enqueues_does_not_listen(store: SQLiteStore) -> None:
    """No thread, no socket, no row."""
    store.add([make_record()])
    store.wake(["default"])
    store.get(["x"])
    assert not listening_threads()
    assert not listeners(store)


def test_many_threads_share_one_listener(store: SQLiteStore) -> None:
    with sleeping(store, "default"), sleeping(store, "mail"), sleeping(store, DUE):
        assert len(listening_threads()) == len(listeners(store)) == 1
        store.add([make_record(), make_record(queue="mail"), make_record(delay=5)])
        store.wake(["default", "mail"])


def test_closing_leaves_nothing(store: SQLiteStore) -> None:
    """No thread, no address, no row; and it may be opened again."""
    for _ in range(2):
        store.open()
        (added,) = store.add([make_record(queue="other")])
        with sleeping(store, "default"):
            (name,) = listeners(store)
            store.add([make_record()])
            store.wake(["default"])
        store.close()
        assert not listening_threads()
        assert not wakeups._is_bound(name)
        assert not listeners(store)
        store.register(WorkerRecord("w", "localhost", 1, added.record.created_at))
        running = store.exchange("w", (), Want(10)).claimed
        store.exchange("w", [Succeeded(Claim(job.id, job.fence), "1") for job in running], Want(0))


DIE = """
import os
threading.Thread(target=store.wait, args=(["default"], 60), daemon=True).start()
while not store._waiting._waiters.any():
    pass
os._exit(0)
"""


def test_who_dies_is_forgotten(store: SQLiteStore, path: Path) -> None:
    """Its row is deleted by whoever sweeps, and telling it meanwhile does no harm."""
    elsewhere(path, DIE)
    assert len(listeners(store)) == 1
    store.add([make_record()])
    store.wake(["default"])
    store.sweep(100, {})
    assert not listeners(store)


def test_a_row_that_somebody_deleted_is_written_again(store: SQLiteStore) -> None:
    """By mistake, since from a container the processes of another cannot be seen."""
    with sleeping(store, "default"):
        names = listeners(store)
        store._write(lambda jobs: store._peers.wakeups.withdraw(jobs.db, names))
        store._waiting.tidy()
        assert listeners(store) == names
        store.add([make_record()])
        store.wake(["default"])


def test_nobody_is_told_of_ends_for_long(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once no thread waits for a job, others are spared the datagrams."""
    (added,) = store.add([make_record()])
    store.wait([added.record.id], 0.01)
    address = store._peers.wakeups.mine
    assert address is not None
    with store._read() as db:
        assert wakeups.IDS in (store._peers.wakeups.announced(db, address) or ())
    monkeypatch.setattr(waiting, "_IDS_FOR", -1.0)
    store._waiting.tidy()
    with store._read() as db:
        assert wakeups.IDS not in (store._peers.wakeups.announced(db, address) or ())


FORK = """
import os
def sleep():
    while not store._waiting._has_something("default"):
        store.wait(["default"], 60)
def asleep():
    thread = threading.Thread(target=sleep)
    thread.start()
    while not store._waiting._waiters.any():
        pass
    return thread
def add():
    store.add([make_record()])
    store.wake(["default"])
from flask_later.stores.sqlite.wakeups import Inbox
Inbox.poll = 1000.0
thread = asleep()
mine = store._peers.wakeups.mine
child = os.fork()
if child == 0 and sys.argv[2] == "add":
    add()
    os._exit(0)
if child == 0:
    store.open()
    assert store._peers.wakeups.mine is None
    store.wait(["another"], 0.01)
    assert store._peers.wakeups.mine not in (mine, None)
    add()
    store.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
thread.join(10)
print("woken" if not thread.is_alive() else "asleep")
store.close()
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_child_of_a_fork_listens_for_itself(store: SQLiteStore, path: Path) -> None:
    """It has an address of its own, wakes its parent, and takes nothing along when it ends."""
    assert elsewhere(path, FORK, "listen") == "woken"
    assert not listeners(store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_child_of_a_fork_wakes_its_parent(path: Path) -> None:
    """And not the threads of its parent that it takes for its own."""
    assert elsewhere(path, FORK, "add") == "woken"


FORK_WHILE_LOCKED = """
import os, signal
holding, over = threading.Event(), threading.Event()
def hold():
    with store._waiting._lock:
        holding.set()
        over.wait(60)
threading.Thread(target=hold, daemon=True).start()
holding.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    store.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
over.set()
store.close()
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_child_of_a_fork_closes_what_its_parent_had_locked(path: Path) -> None:
    """Whichever thread was about to wake somebody is not in the child."""
    assert elsewhere(path, FORK_WHILE_LOCKED) == "0"


# What is sent


@pytest.fixture
def inbox(path: Path) -> Iterator[wakeups.Inbox]:
    inbox = wakeups.Inbox(path)
    yield inbox
    inbox.close()


def send(inbox: wakeups.Inbox, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        for datagram in datagrams:
            out.sendto(datagram, wakeups._to_path(inbox.address.name))


def test_what_strangers_send_means_nothing(inbox: wakeups.Inbox) -> None:
    """Any user of the machine can send to such a name; the secret stands in the file."""
    secret = inbox.address.secret.encode()
    send(inbox, b"", b'["default"]', b"x" * 2000, secret, secret + b"{", secret + b'"a"')
    send(inbox, secret + b'["mail"]')
    assert inbox.receive(0.1) == ["mail"]


def test_a_process_is_told_of_a_queue_once_in_a_while(
    store: SQLiteStore, inbox: wakeups.Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst is one datagram for each queue; whoever gets it looks once more by itself."""
    monkeypatch.setattr(wakeups, "QUIET", NEVER)
    told = store._peers.wakeups
    job_id = "0" * 32
    topics = {"default", "mail", wakeups.IDS}
    store._write(lambda jobs: told.announce(jobs.db, inbox.address, topics, 0))
    store.add([make_record()])
    for topic in ("default", "default", "mail", "default", "mail"):
        told.send([topic])
    # That one has ended is told once, and nobody looks for it later.
    told.send([job_id])
    told.send([job_id])
    assert inbox.receive(0.1) == ["default", "mail", job_id, job_id]
    monkeypatch.setattr(wakeups, "QUIET", 0.0)
    told.send(["default"])
    assert inbox.receive(0.1) == ["default"]


def test_others_are_on_their_way_while_a_job_is_committed(
    store: SQLiteStore, inbox: wakeups.Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have to wait for that, and find it. If it takes long, they are told once more."""
    told = store._peers.wakeups
    heard: list[list[str] | None] = []
    store._write(lambda jobs: told.announce(jobs.db, inbox.address, {"default"}, 0))
    commit = Connection.commit

    def watched(db: Connection) -> None:
        heard.append(inbox.receive(0.0))
        commit(db)

    monkeypatch.setattr(Connection, "commit", watched)
    monkeypatch.setattr(wakeups, "QUIET", NEVER)
    store.add([make_record()])
    store.wake(["default"])
    assert (heard, inbox.receive(0.0)) == ([["default"]], [])
    monkeypatch.setattr(wakeups, "QUIET", 0.0)
    store.wake(["default"])
    assert inbox.receive(0.0) == ["default"]


def test_what_nobody_was_told_of_is_found_in_a_moment(
    no_poll: None, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is stored just after the one of a datagram has none of its own."""
    monkeypatch.setattr(listener, "SPREAD", 0.5)
    with sleeping(store, "default"):
        store._waiting.hear(["default"])
        # The thread that the datagram has woken found nothing yet, and lay down again.
        until(lambda: not store._waiting._waiters._coming)
        store.add([make_record()])


def test_a_full_inbox_holds_up_nobody(
    store: SQLiteStore, inbox: wakeups.Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What finds no place is dropped, and the reader is told that something may have been."""
    monkeypatch.setattr(wakeups, "QUIET", -1.0)
    told = store._peers.wakeups
    store._write(lambda jobs: told.announce(jobs.db, inbox.address, {"default"}, 0))
    store.add([make_record()])
    for _ in range(1000):
        told.send(["default", "unheard"])
    answers = []
    while answers[-1:] != [[]]:
        answers.append(inbox.receive(0.0))
    assert answers[0] is None
