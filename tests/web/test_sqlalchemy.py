"""Jobs with Flask-SQLAlchemy, as its users write them: a scoped session for each job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column
from tests.shop import PATIENCE, Shop

from flask_later import Job, JobState
from flask_later.errors import NotSerializableError


class Bench:
    """A shop with a database of users."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop = shop
        self.db = db = SQLAlchemy()

        class User(db.Model):  # type: ignore[misc, name-defined]
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]

        self.user = User
        app = shop.make_app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder}/shop.sqlite3")
        db.init_app(app)
        with app.app_context():
            db.create_all()
            db.session.add(User(id=1, name="Zoë"))
            db.session.commit()
        shop.__dict__["app"] = app
        shop.later.start(app)

    def names(self) -> list[str]:
        with self.shop.app.app_context():
            return [user.name for user in self.db.session.query(self.user).order_by("id")]

    def close(self) -> None:
        with self.shop.app.app_context():
            self.db.engine.dispose()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Shop() as shop:
        bench = Bench(shop, tmp_path)
        yield bench
        shop.later.stop(shop.app, PATIENCE)
        bench.close()


def run(bench: Bench, function: Callable[..., Any], *args: Any) -> Job[Any]:
    return bench.shop.run(bench.shop.later.task(name=function.__qualname__)(function), *args)


def test_a_job_reads_and_writes(bench: Bench) -> None:
    """``db.session`` works in a task as in a view."""
    db = bench.db

    def rename(user_id: int, name: str) -> str:
        user = db.session.get(bench.user, user_id)
        before: str = user.name
        user.name = name
        db.session.commit()
        return before

    assert run(bench, rename, 1, "Ada").result == "Zoë"
    assert bench.names() == ["Ada"]


def test_an_async_job_does_as_well(bench: Bench) -> None:
    """The session is that of its app context, before and after an await."""
    db = bench.db

    async def add(name: str) -> bool:
        session = db.session()
        db.session.add(bench.user(name=name))
        await asyncio.sleep(0)
        db.session.commit()
        return session is db.session()

    assert run(bench, add, "Ada").result is True
    assert bench.names() == ["Zoë", "Ada"]


def test_each_job_has_a_session_of_its_own(bench: Bench) -> None:
    """Also two at a time, and one after the other on the same thread."""
    db, meeting = bench.db, threading.Barrier(2)
    sessions: list[object] = []

    def look() -> None:
        sessions.append(db.session())
        meeting.wait(PATIENCE)

    task = bench.shop.later.task(look)
    jobs = [bench.shop.enqueue(task) for _ in range(4)]
    assert {job.wait(timeout=PATIENCE).state for job in jobs} == {JobState.SUCCEEDED}
    assert len({id(session) for session in sessions}) == 4


@pytest.mark.parametrize("raised", [None, LookupError, SystemExit])
def test_a_session_ends_with_its_job(bench: Bench, raised: type[BaseException] | None) -> None:
    """What was not committed is rolled back, and the connection goes back to its pool."""
    db = bench.db

    def add() -> None:
        db.session.add(bench.user(name="Ada"))
        db.session.flush()
        if raised is not None:
            raise raised

    run(bench, add)
    assert bench.names() == ["Zoë"]
    with bench.shop.app.app_context():
        pool: Any = db.engine.pool
        db.session.remove()
        assert pool.checkedout() == 0


def test_a_timed_out_job_does_not_share_its_session(bench: Bench) -> None:
    """The thread that took its place begins with a new one."""
    db, gate = bench.db, bench.shop.gate()

    def hang() -> None:
        db.session.add(bench.user(name="Ada"))
        gate.wait(PATIENCE)

    task = bench.shop.later.task(name="hang", timeout=0.05)(hang)
    assert bench.shop.run(task).state is JobState.FAILED

    def count() -> int:
        new: int = len(db.session.new)
        return new

    assert run(bench, count).result == 0


def test_a_model_is_refused_with_what_to_pass(bench: Bench) -> None:
    """Its id, and how to load it again."""

    def greet(user: object) -> None: ...

    task = bench.shop.later.task(name="shop.greet")(greet)
    with bench.shop.app.app_context(), pytest.raises(NotSerializableError) as refusal:
        task.enqueue(bench.db.session.get(bench.user, 1))
    text = str(refusal.value)
    assert text.startswith("argument 'user' is a User and cannot be stored.")
    assert "db.session.get(User, user_id)" in text
    assert text.endswith("greet.enqueue(user.id)")


def test_a_model_is_no_result_either(bench: Bench) -> None:
    """The job fails, and says the same."""
    db = bench.db

    def find() -> object:
        return db.session.get(bench.user, 1)

    error = run(bench, find).error
    assert error is not None
    assert error.type == "NotSerializableError"
    assert "return user.id" in error.message


def test_what_a_view_committed_its_job_sees(bench: Bench) -> None:
    """Enqueue after the commit, with the id."""
    db = bench.db

    def name_of(user_id: int) -> str:
        name: str = db.session.get(bench.user, user_id).name
        return name

    task = bench.shop.later.task(name_of)

    @bench.shop.app.post("/users/<name>")
    def create(name: str) -> str:
        user = bench.user(name=name)
        db.session.add(user)
        db.session.commit()
        return task.enqueue(user.id).id

    job_id = bench.shop.app.test_client().post("/users/Ada").text
    with bench.shop.app.app_context():
        assert task.job(job_id).wait(timeout=PATIENCE).result == "Ada"
