"""Signal handlers and forks that come while a thread is inside of a store."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.shop import Shop, until

from flask_later.core.clock import SystemClock
from flask_later.core.job import JobRecord
from flask_later.errors import ReentryError
from flask_later.stores.memory import MemoryStore
from flask_later.stores.sqlite import SQLiteStore
from flask_later.stores.sqlite.turn import Place, Turn
from flask_later.testing.records import make_record

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer here")

JOBS = {"memory": 2_000, "sqlite": 300}


class Interrupting(list[JobRecord]):
    """Records that use the store while it looks at them, as a signal handler may."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__([make_record()])
        self._store = store

    def __iter__(self) -> Iterator[JobRecord]:
        self._store.add([make_record()])
        return super().__iter__()


def test_who_interrupts_the_store_is_refused() -> None:
    """Waiting would be for ever; the thread that was interrupted goes on."""
    store = MemoryStore(SystemClock())
    with pytest.raises(ReentryError, match="signal handler"):
        store.add(Interrupting(store))
    assert store.stats() == []
    store.add([make_record()])
    assert len(store.find().records) == 1


def test_who_interrupts_a_commit_is_refused(tmp_path: Path) -> None:
    """At once, and not after as long as it would wait for another process."""
    store = SQLiteStore(tmp_path / "later.sqlite3", SystemClock(), patience=1_000.0)
    store.open()
    with pytest.raises(ReentryError):
        store._write(lambda jobs: store.add([make_record()]))
    store.add([make_record()])
    assert len(store.find().records) == 1
    store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_signal_handler_that_enqueues_is_told_or_served(kind: str, tmp_path: Path) -> None:
    """Again and again, wherever it comes: no job is lost, and nobody waits for himself."""
    done: list[str] = []
    told: list[str] = []
    jobs = JOBS[kind]
    address = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/later.sqlite3"
    with Shop(STORE=address, DURABILITY="process") as shop:
        task = shop.later.task(name="note")(done.append)

        def handle(*_: object) -> None:
            try:
                task.enqueue("handler")
                told.append("served")
            except ReentryError:
                told.append("refused")

        shop.later.start(shop.app)
        before = signal.signal(signal.SIGPROF, handle)
        try:
            with shop.app.app_context():
                signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
                for _ in range(jobs):
                    task.enqueue("thread")
                # By chance all of them may have come while the store was in use.
                while "served" not in told:
                    sum(range(100))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            # One may still be on its way to another thread, where the default would end all tests:
            # to be ignored discards it (POSIX, sigaction).
            signal.signal(signal.SIGPROF, signal.SIG_IGN)
            signal.signal(signal.SIGPROF, before)
        until(lambda: len(done) >= jobs + told.count("served"))
    assert done.count("thread") == jobs
    assert done.count("handler") == told.count("served") > 0


def test_the_child_of_a_fork_has_a_memory_of_its_own() -> None:
    """It does not run its parent's jobs again, nor wait for a thread that it does not have."""
    store = MemoryStore(SystemClock())
    store.add([make_record()])
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        store.open()
        empty = store.stats() == []
        store.add([make_record()])
        os._exit(0 if empty and len(store.find().records) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    over.set()
    thread.join()
    store.open()
    assert len(store.find().records) == 1


def test_a_handler_gets_the_turn_that_its_thread_has_just_got() -> None:
    """In that moment nobody can say yet that the thread may not be interrupted."""
    turn: Turn[Place] = Turn()
    assert turn.take(Place(), patience=0.1)
    assert turn.take(Place(), patience=0.1)
    turn.release()
    turn.release()
