"""How the threads of a process share the commits of the SQLite store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.sqlite.files import raw

from flask_later.core.clock import SystemClock
from flask_later.core.job import Cancel
from flask_later.core.store import Added, Limits
from flask_later.errors import JobNotFoundError, QueueFullError, StoreBusyError, StoreError
from flask_later.stores.sqlite import SQLiteStore
from flask_later.stores.sqlite.jobs import Jobs
from flask_later.stores.sqlite.writer import Writer, _Entry
from flask_later.testing.records import make_record

DEADLINE = 20


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, SystemClock(), Limits(max_pending=100))
    store.open()
    yield store
    store.close()


@pytest.fixture
def writer(store: SQLiteStore) -> Writer:
    return store._writer


class Thread(threading.Thread):
    """Keeps what its function returned or raised."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.answer: object = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._function()
        except BaseException as error:
            self.error = error

    def end(self) -> Thread:
        self.join(DEADLINE)
        assert not self.is_alive()
        return self


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(DEADLINE * 1000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not come about")


def queued(writer: Writer, *functions: Callable[[], object]) -> list[Thread]:
    """Start a thread for each of *functions*; the caller has the turn, so that all queue up."""
    threads: list[Thread] = []
    for number, function in enumerate(functions, start=1):
        threads.append(Thread(function))
        wait_until(lambda number=number: len(writer._turn._line) == number)  # type: ignore[misc]
    return threads


def test_what_threads_write_at_once_shares_a_commit(store: SQLiteStore, writer: Writer) -> None:
    """One transaction for all that was queued while another was at it."""
    seen: list[Jobs] = []
    with writer._turn:
        threads = queued(writer, *[lambda: writer.write(seen.append, full=False)] * 5)
    for thread in threads:
        assert thread.end().error is None
    assert len(seen) == 5
    assert len({*map(id, seen)}) == 1


def test_one_that_fails_harms_no_other(store: SQLiteStore, writer: Writer) -> None:
    """Each gets its own answer, or its own error."""
    records = [make_record() for _ in range(4)]
    with writer._turn:
        threads = queued(
            writer,
            lambda: store.add(records[:2]),
            lambda: store.command("f" * 32, Cancel()),
            lambda: store.add([make_record() for _ in range(101)]),
            lambda: store.add(records[2:]),
        )
    first, second, third, fourth = [thread.end() for thread in threads]
    assert isinstance(second.error, JobNotFoundError)
    assert isinstance(third.error, QueueFullError)
    assert (first.error, fourth.error) == (None, None)
    assert {*store.get([record.id for record in records])} == {record.id for record in records}
    assert len(store.find().records) == 4


def test_one_that_is_refused_shares_the_transaction_of_the_others(
    store: SQLiteStore, writer: Writer
) -> None:
    """Who floods a full queue does not make the others commit one by one."""
    seen: list[Jobs] = []
    with writer._turn:
        threads = queued(
            writer,
            lambda: writer.write(seen.append, full=False),
            lambda: store.add([make_record() for _ in range(101)]),
            lambda: writer.write(seen.append, full=False),
        )
    errors = [thread.end().error for thread in threads]
    assert [type(error) for error in errors] == [type(None), QueueFullError, type(None)]
    assert len(seen) == 2
    assert seen[0] is seen[1]


def test_the_answers_are_those_of_the_transaction_that_was_committed(
    store: SQLiteStore, writer: Writer
) -> None:
    """What was undone because of another is told as new, when it is stored at last."""

    def spoil(jobs: Jobs) -> None:
        jobs.db.execute("INSERT INTO paused VALUES ('mail')")
        raise JobNotFoundError("f" * 32)

    record = make_record()
    with writer._turn:
        threads = queued(
            writer, lambda: store.add([record]), lambda: writer.write(spoil, full=False)
        )
    assert threads[0].end().answer == [Added(record, True)]
    assert store.stats()[0].paused is False


def test_a_leader_that_is_interrupted_leaves_nobody_waiting(
    store: SQLiteStore, writer: Writer
) -> None:
    """Ctrl-C ends its own call; the others are served."""

    def interrupt(_: Jobs) -> None:
        raise KeyboardInterrupt

    writer._turn.acquire()
    (thread,) = queued(writer, lambda: store.add([make_record()]))
    with pytest.raises(KeyboardInterrupt):
        writer._lead(_Entry(interrupt, full=False, deadline=0))
    assert thread.end().error is None
    assert len(store.find().records) == 1


def test_one_that_asks_for_the_disk_gets_it_in_company(store: SQLiteStore, writer: Writer) -> None:
    """A commit that anyone needs on the disk is synced, whoever leads it."""
    modes: list[object] = []

    def look(jobs: Jobs) -> None:
        modes.append(jobs.db.all("PRAGMA synchronous"))

    with writer._turn:
        threads = queued(
            writer, lambda: writer.write(look, full=False), lambda: writer.write(look, full=True)
        )
    for thread in threads:
        assert thread.end().error is None
    assert modes == [[(2,)], [(2,)]]


def test_a_writer_gives_up_when_another_process_writes_for_too_long(path: Path) -> None:
    """All of its threads do, each after its own patience, and nothing of theirs is stored."""
    store = SQLiteStore(path, SystemClock(), patience=0.05)
    store.open()
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        threads = [Thread(lambda: store.add([make_record()])) for _ in range(4)]
        for thread in threads:
            assert isinstance(thread.end().error, StoreBusyError)
    assert store.find().records == []
    assert store.add([make_record()])[0].created
    store.close()


def test_a_short_transaction_of_another_process_is_waited_for(
    store: SQLiteStore, path: Path
) -> None:
    """Within the patience nobody hears of it."""
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        thread = Thread(lambda: store.add([make_record()]))
        wait_until(lambda: store._writer._leader != 0)
        other.execute("COMMIT")
    assert thread.end().error is None


def test_who_waits_in_vain_for_the_turn_has_written_nothing(path: Path) -> None:
    """Another thread of the process may be held up by the disk."""
    store = SQLiteStore(path, SystemClock(), patience=0.05)
    store.open()
    with store._writer._turn:
        late = Thread(lambda: store.add([make_record()])).end()
    assert isinstance(late.error, StoreBusyError)
    assert store.find().records == []
    store.close()


def test_a_closed_writer_opens_again(store: SQLiteStore, writer: Writer) -> None:
    """The last outcomes of a stop come after the close."""
    store.add([make_record()])
    first = writer._connection
    store.close()
    assert store.add([make_record()])[0].created
    assert writer._connection is not first


def test_a_statement_that_fails_is_an_error_of_the_store(writer: Writer) -> None:
    """And the next transaction finds the connection as it should be."""
    with pytest.raises(StoreError, match="nothing of the kind"):
        writer.write(lambda jobs: jobs.db.all("SELECT * FROM 'nothing of the kind'"), full=False)
    assert writer.write(lambda jobs: jobs.db.all("SELECT 1"), full=False) == [(1,)]
