"""Wrong use is told at once, by an error that says what to type."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask

from flask_later import Later
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
    with pytest.raises(StoreError, match="LATER_STORE"):
        later.start(app)
