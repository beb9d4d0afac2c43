"""The files of jobs in a database: whole or not there, for all machines, gone with their job."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, request
from sqlalchemy import func, select, update
from tests import databases
from tests.services.conftest import Open

from flask_later import Later
from flask_later.core.job import JobState
from flask_later.core.store import Store
from flask_later.errors import StoreError, StoreFullError
from flask_later.stores.sql import tables
from flask_later.stores.sql.tables import MAX_PART
from flask_later.testing import run_all
from flask_later.testing.records import make_record

pytestmark = pytest.mark.services

JOB, OTHER = "a" * 32, "b" * 32


def content(store: Store, job_id: str, kind: str) -> bytes:
    with store.files.open(job_id, kind) as file:
        return file.read()


def rows(url: str) -> int:
    """How many parts of files there are."""
    with databases.reached(url).connect() as db:
        number: int = db.execute(select(func.count()).select_from(tables.file)).scalar_one()
    return number


def age(url: str, seconds: float) -> None:
    """Let all files be so old, without waiting for that."""
    with databases.reached(url).begin() as db:
        db.execute(update(tables.file).values(at=tables.file.c.at - int(seconds * 1e6)))


@pytest.mark.parametrize("size", [0, 1, MAX_PART, 5 * MAX_PART + 1])
def test_a_file_comes_back_as_it_was_on_every_machine(url: str, opened: Open, size: int) -> None:
    """All its bytes, also in pieces that are not its parts."""
    here, there = opened(url), opened(url)
    data = os.urandom(size)
    here.files.put(JOB, "request", (data[at : at + 70_000] for at in range(0, size, 70_000)))
    here.files.put(JOB, "answer", [b"another"])
    assert content(there, JOB, "request") == data
    with there.files.open(JOB, "request") as file:
        assert b"".join(iter(lambda: file.read(100_001), b"")) == data


def test_a_file_never_changes(url: str, opened: Open) -> None:
    """Who puts it again has lost the answer to the first time."""
    store = opened(url)
    store.files.put(JOB, "request", [b"first"])
    store.files.put(JOB, "request", [b"second"])
    assert content(store, JOB, "request") == b"first"


def test_of_two_that_put_the_same_at_once_one_is_kept(url: str, opened: Open) -> None:
    """Neither fails, and no part is of the other."""
    store = opened(url)
    texts = [letter * (4 * MAX_PART) for letter in (b"1", b"2", b"3")]
    meeting = threading.Barrier(len(texts))

    def put(text: bytes) -> None:
        def chunks() -> Iterator[bytes]:
            yield text
            meeting.wait(20)

        store.files.put(JOB, "request", chunks())

    threads = [threading.Thread(target=put, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert content(store, JOB, "request") in texts
    assert rows(url) == 4


@pytest.mark.parametrize(("number", "error"), [(28, StoreFullError), (5, StoreError)])
def test_a_file_that_cannot_be_finished_is_not_there(
    url: str, opened: Open, number: int, error: type[StoreError]
) -> None:
    """Nor is any part of it; the next try may succeed."""
    store = opened(url)

    def chunks() -> Iterator[bytes]:
        yield b"x" * (2 * MAX_PART)
        raise OSError(number, os.strerror(number))

    with pytest.raises(error, match=os.strerror(number)):
        store.files.put(JOB, "request", chunks())
    assert rows(url) == 0
    store.files.put(JOB, "request", [b"all"])
    assert content(store, JOB, "request") == b"all"


def test_a_name_that_is_none_is_refused(url: str, opened: Open) -> None:
    """By whichever way."""
    files = opened(url).files
    with pytest.raises(ValueError, match="no file of a job"):
        files.put(JOB, "../x", [b"x"])
    with pytest.raises(ValueError, match="no file of a job"):
        files.open("no id", "request")


def test_who_reads_a_file_that_goes_is_told(url: str, opened: Open) -> None:
    """A part of it is not taken for the whole."""
    store = opened(url)
    store.files.put(JOB, "request", [b"x" * (3 * MAX_PART)])
    with store.files.open(JOB, "request") as file:
        assert file.read(10) == b"x" * 10
        store.files.delete([JOB])
        with pytest.raises(FileNotFoundError, match=r"no such file.*request"):
            file.read()
    assert rows(url) == 0


def test_files_go_with_their_job(url: str, opened: Open) -> None:
    """When it is pruned; those of another stay."""
    store = opened(url)
    record = make_record(state=JobState.FAILED)
    store.add([record._replace(finished_at=record.created_at)])
    store.files.put(record.id, "request", [b"x"])
    store.files.put(OTHER, "request", [b"y"])
    assert store.prune([JobState.FAILED], record.created_at + timedelta(days=1), 10) == 1
    assert rows(url) == 1
    assert content(store, OTHER, "request") == b"y"


def test_files_whose_job_was_never_stored_go_after_an_hour(url: str, opened: Open) -> None:
    """Not before: it may be about to be stored. Those of a job stay, however old."""
    store = opened(url)
    record = make_record()
    store.add([record])
    store.files.put(record.id, "request", [b"x"])
    store.files.put(OTHER, "request", [b"y"])
    store.files.put(OTHER, "answer", [b"z" * (2 * MAX_PART)])
    age(url, 3500)
    opened(url).sweep(100, {})
    assert rows(url) == 4
    age(url, 200)
    opened(url).sweep(100, {})
    assert content(store, record.id, "request") == b"x"
    assert rows(url) == 1


def test_tables_of_the_version_before_are_brought_up_to_date(kind: str, opened: Open) -> None:
    """They had no files; the jobs and the identity stay."""
    with databases.fresh(kind) as url:
        before = opened(url)
        before.add([make_record()])
        before.close()
        with databases.reached(url).begin() as db:
            tables.file.drop(db)
            db.execute(update(tables.meta).where(tables.meta.c.key == "tables").values(value="1"))
        store = opened(url)
        store.files.put(JOB, "request", [b"x"])
        assert content(store, JOB, "request") == b"x"
        assert store.identity == before.identity
        assert len(store.find().records) == 1
        store.close()


@contextmanager
def doubling(url: str) -> Iterator[Flask]:
    """An app that gives back a body twice."""
    app = Flask("app")
    app.config.update(TESTING=True, LATER_STORE=url)
    later = Later(app)

    @app.post("/twice")
    @later.respond_async
    def twice() -> Any:
        return request.get_data() * 2

    try:
        yield app
    finally:
        later.stop(app, 1.0)


def test_an_async_route_takes_and_gives_large_bodies(url: str) -> None:
    """The request and the response both are files, and go with the operation."""
    body = os.urandom(MAX_PART)
    with doubling(url) as app:
        client = app.test_client()
        where = client.post("/twice", data=body, content_type="application/octet-stream").location
        run_all(app)
        assert client.get(f"{where}/result").data == body * 2
        part = client.get(f"{where}/result", headers={"Range": "bytes=262100-262200"})
        assert (part.status_code, part.data) == (206, (body * 2)[262100:262201])
        assert rows(url) == 3
        assert client.delete(where).status_code == 204
        assert rows(url) == 0
