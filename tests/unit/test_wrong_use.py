"""Wrong use is told at once, by an error that says what to type."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask

from flask_later import Later, QueueService, TaskGroup
from flask_later.errors import InvalidSettingError, InvalidTaskError, StoreError


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def app(later: Later) -> Flask:
    app = Flask("shop")
    app.testing = True
    later.init_app(app)
    return app


@pytest.mark.parametrize("given", [None, 5, "task", [5]])
def test_many_calls_are_calls(later: Later, app: Flask, given: Any) -> None:
    """A task in place of its call is a likely slip."""
    with app.app_context(), pytest.raises(InvalidTaskError, match=r"task\.call\(1\)"):
        later.enqueue_many(given)


def test_a_task_is_not_a_call(later: Later, app: Flask) -> None:
    """Nor is a single call many of them."""
    task = later.task(lambda_free)
    with app.app_context():
        for given in ([task], task.call()):
            with pytest.raises(InvalidTaskError, match=r"task\.call\(1\)"):
                later.enqueue_many(given)  # type: ignore[arg-type]


def lambda_free() -> None: ...


def test_a_group_is_a_group(later: Later) -> None:
    """Only its tasks could be taken up."""
    with pytest.raises(InvalidTaskError, match="TaskGroup"):
        later.register(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "named"), [(None, "A NoneType"), (5, "An int"), ("a", "A str")])
def test_an_app_is_an_app(given: Any, named: str) -> None:
    """Whoever forgot to return it from a factory passes None."""
    with pytest.raises(InvalidTaskError, match=f"{named} is no Flask app"):
        Later().init_app(given)


@pytest.mark.parametrize("given", [{"limit": "x"}, {"limit": 0}, {"after": -1}, {"after": None}])
def test_the_lines_of_a_log_are_counted(later: Later, app: Flask, given: Any) -> None:
    """The store would answer in words of its own."""
    task = later.task(lambda_free)
    with app.app_context(), pytest.raises(InvalidSettingError, match=next(iter(given))):
        task.enqueue().log(**given)


def test_a_job_is_frozen(later: Later, app: Flask) -> None:
    """A fact of it as well as a field."""
    task = later.task(lambda_free)
    with app.app_context():
        job = task.enqueue()
    for name in ("state", "record", "priority"):
        with pytest.raises(AttributeError, match=name):
            setattr(job, name, "cancelled")


def test_what_is_carried_is_captured_by_a_function(later: Later) -> None:
    """Said where it is written, not at the next enqueue."""
    with pytest.raises(InvalidTaskError, match=r"later\.carry\('tenant'\)"):
        later.carry("tenant", capture=1, restore=print)  # type: ignore[arg-type]


def test_a_blueprint_is_a_blueprint(later: Later) -> None:
    """Or its name."""
    with pytest.raises(InvalidTaskError, match="is no blueprint"):
        later.after_response(blueprint=5)(print)  # type: ignore[call-overload]


def test_an_unknown_blueprint_is_told_when_the_app_starts(
    later: Later, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing would ever run, and nobody would know."""
    known = Blueprint("orders", __name__)
    app.register_blueprint(known)
    later.after_response(blueprint="order")(print)
    later.after_response(blueprint=Blueprint("other", __name__))(print)
    later.after_response(blueprint=known)(print)
    with caplog.at_level(logging.WARNING):
        app.test_client().get("/")
    assert "'order'" in caplog.text
    assert "Closest: 'orders'" in caplog.text
    assert "'other'" in caplog.text
    assert len(caplog.records) == 2


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_file_has_a_path(later: Later, address: str) -> None:
    """What is memory elsewhere is called so here."""
    app = Flask("shop")
    app.config["LATER_STORE"] = address
    later.init_app(app)
    with pytest.raises(InvalidSettingError, match="memory://"):
        later.start(app)


def test_a_folder_that_cannot_be_made_is_a_store_error(later: Later, tmp_path: Path) -> None:
    """It names the key to set."""
    (tmp_path / "file").touch()
    app = Flask("shop")
    app.config["LATER_STORE"] = f"sqlite:///{tmp_path}/file/later.sqlite3"
    later.init_app(app)
    with app.app_context(), pytest.raises(StoreError, match="LATER_STORE"):
        later.job("0" * 32)


def one_by_one() -> Iterator[int]:
    yield 1


async def one_by_one_slowly() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [one_by_one, one_by_one_slowly])
def test_a_generator_is_no_callback(later: Later, app: Flask, function: Any) -> None:
    """Calling it would run nothing, and nobody would know."""
    with pytest.raises(InvalidTaskError, match="Remove the 'yield'"):
        later.after_response(function)
    with app.test_request_context(), pytest.raises(InvalidTaskError, match="Remove the 'yield'"):
        later.after_this_response(function)


@pytest.mark.parametrize("option", ["delay", "at", "unique_key", "unique_until", "unique_for"])
def test_what_each_call_decides_is_no_option_of_the_task(later: Later, option: str) -> None:
    """A task with a unique key would never have two jobs."""
    options: Any = {option: 5}
    with pytest.raises(InvalidSettingError, match=rf"task\.using\({option}=\.\.\.\)"):
        later.task(**options)(lambda_free)


def test_an_option_that_there_is_not_is_named_with_those_that_there_are(later: Later) -> None:
    """With the word that others use for it, mostly."""
    options: Any = {"retries": 3}
    with pytest.raises(InvalidTaskError, match=r"'retries'.* Closest: 'retry'.*durable"):
        later.task(**options)(lambda_free)


@pytest.mark.parametrize("name", ["", 5, "x" * 256, "a\nb"])
def test_a_name_is_a_text_of_a_line(later: Later, name: Any) -> None:
    """Of a task, a group, a service and what is carried; a long one is not repeated in full."""
    for give in (
        lambda: later.task(name=name)(lambda_free),
        lambda: TaskGroup(name),
        lambda: later.carry(name, capture=list, restore=print),
        lambda: later.service(name=name)(lambda_free),
    ):
        with pytest.raises(InvalidSettingError, match="printable") as error:
            give()
        assert len(str(error.value)) < 350


def test_a_long_value_is_cut_off(later: Later) -> None:
    """Whoever gave it knows the rest, and it may end in a log."""
    task = later.task(lambda_free)
    with pytest.raises(
        InvalidSettingError, match=r"unique_key is 'xxx.*\.\.\., expected 1 to 255"
    ) as error:
        task.using(unique_key="x" * 5_000)
    assert len(str(error.value)) < 350


@pytest.mark.parametrize("timeout", ["5", -1, float("nan")])
def test_a_service_is_waited_for_in_seconds(later: Later, app: Flask, timeout: Any) -> None:
    """Refused before anything is stopped."""

    @later.service
    class Printer(QueueService[str]):
        def handle(self, item: str) -> None: ...

    later.start(app)
    with app.app_context():
        printer = later.services[Printer]
        printer.start()
        for ask in (printer.stop, printer.restart, partial(printer.put, "a page")):
            with pytest.raises(InvalidSettingError, match="timeout"):
                ask(timeout=timeout)
        assert printer.info.status in {"starting", "running"}
    later.stop(app)
