"""Flask-Login: its user starts operations, and is there in the job."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user

from flask_later import Later
from flask_later.testing import run_all


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


class Site:
    def __init__(self) -> None:
        self.app = Flask("shop")
        self.app.testing = True
        self.app.secret_key = "secret"
        self.later = Later(self.app)
        self.known = {"ada", "bob"}
        manager = LoginManager(self.app)
        manager.user_loader(lambda name: User(name) if name in self.known else None)

        @self.app.post("/login/<name>")
        def login(name: str) -> str:
            login_user(User(name))
            return "ok"

        @self.app.post("/report")
        @login_required  # type: ignore[untyped-decorator]
        @self.later.respond_async
        def report() -> dict[str, object]:
            return self.seen()

        @self.app.post("/inner")
        @self.later.respond_async
        @login_required  # type: ignore[untyped-decorator]
        def inner() -> dict[str, object]:
            return self.seen()

        @self.app.post("/open")
        @self.later.respond_async
        def anybody() -> dict[str, object]:
            return self.seen()

    def seen(self) -> dict[str, object]:
        return {"user": current_user.get_id(), "known": current_user.is_authenticated}

    def client(self, name: str | None = None) -> FlaskClient:
        client = self.app.test_client()
        if name is not None:
            client.post(f"/login/{name}")
        return client


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize("path", ["/report", "/inner"])
def test_who_is_logged_in_is_there_in_the_job(site: Site, path: str) -> None:
    """Above and below the decorator that asks for it."""
    ada = site.client("ada")
    where = ada.post(path).headers["Location"]
    run_all(site.app)
    assert ada.get(f"{where}/result").get_json() == {"user": "ada", "known": True}


def test_nobody_else_sees_it(site: Site) -> None:
    """Neither another user nor nobody."""
    where = site.client("ada").post("/report").headers["Location"]
    run_all(site.app)
    for other in (site.client("bob"), site.client()):
        assert other.get(where).status_code == 404
        assert other.get(f"{where}/result").status_code == 404
        assert other.post(f"{where}/cancel").status_code == 404
        assert other.delete(where).status_code == 404


def test_who_is_not_logged_in_starts_nothing(site: Site) -> None:
    """The decorator above ours answers at once."""
    assert site.client().post("/report").status_code == 401
    assert run_all(site.app) == 0


def test_nobody_is_nobody_in_the_job(site: Site) -> None:
    """And whoever knows the URL sees the operation."""
    where = site.client().post("/open").headers["Location"]
    run_all(site.app)
    answer = site.client("bob").get(f"{where}/result")
    assert answer.get_json() == {"user": None, "known": False}


def test_a_user_that_is_gone_is_nobody_in_the_job(site: Site) -> None:
    """What it may still do is for the view to say."""
    ada = site.client("ada")
    where = ada.post("/inner").headers["Location"]
    site.known.remove("ada")
    run_all(site.app)
    site.known.add("ada")
    assert ada.get(f"{where}/result").status_code == 401
