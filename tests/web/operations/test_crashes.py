"""Views that crash: the app's own handlers are asked what the client is to get."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Blueprint, Response, abort
from werkzeug.exceptions import HTTPException, InternalServerError

from flask_later import JobState, Retry, TryAgain, current_job
from flask_later.testing import advance

from .site import Site

SECRET = "s3cr3t"


def apologize(error: HTTPException) -> tuple[dict[str, str], int, dict[str, str]]:
    assert isinstance(error, InternalServerError)
    return {"sorry": type(error.original_exception).__name__}, 503, {"X-Kind": "apology"}


def crash() -> None:
    raise ValueError(SECRET)


async def crash_later() -> None:
    raise ValueError(SECRET)


def crash_in_a_stream() -> Response:
    return Response(f"{1 / (2 - number)}" for number in range(3))


def answer_nothing() -> None:
    """What Flask makes no response of."""


def error_of(site: Site, where: str) -> Any:
    record = site.app.extensions["later"].store.get([where[-32:]])[where[-32:]]
    assert record.state is JobState.FAILED
    return record.error


@pytest.mark.parametrize("registered", [500, InternalServerError, HTTPException])
@pytest.mark.parametrize("view", [crash, answer_nothing])
def test_the_apps_handler_of_crashes_is_asked(site: Site, registered: Any, view: Any) -> None:
    """The client gets what the same view in the request gives it, and the job has failed."""
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    site.app.errorhandler(registered)(apologize)
    site.app.add_url_rule("/now", "now", view, methods=["POST"])
    site.view("/later")(view)
    expected = site.post("/now")
    where = site.start("/later")
    site.run()
    answer = site.client.get(f"{where}/result")
    assert (answer.status_code, answer.get_json()) == (503, expected.get_json())
    assert {*expected.headers} <= {*answer.headers}
    assert error_of(site, where).traceback


def test_the_operation_has_failed_and_tells_nothing_of_the_error(site: Site) -> None:
    """Its status is that of the answer."""
    site.app.errorhandler(500)(apologize)
    site.view("/crash")(crash)
    where = site.start("/crash")
    site.run()
    document = site.document(where)
    assert (document["status"], document["result"]) == ("failed", None)
    assert document["error"] == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "The operation failed.",
        "instance": where,
    }
    assert SECRET in error_of(site, where).message
    assert SECRET not in str(document)


def test_a_handler_that_says_all_is_well_does_not_make_it_so(site: Site) -> None:
    """The operation has failed, and the result is what the handler has made."""
    site.app.errorhandler(500)(lambda error: "Never mind.")
    site.view("/crash")(crash)
    where = site.start("/crash")
    site.run()
    document = site.document(where)
    assert (document["status"], document["error"]["status"]) == ("failed", 500)
    answer = site.client.get(f"{where}/result")
    assert (answer.status_code, answer.text) == (200, "Never mind.")


@pytest.mark.parametrize("view", [crash_later, crash_in_a_stream])
def test_a_crash_may_come_late(site: Site, view: Any) -> None:
    """In an event loop, or in the middle of a body."""
    site.app.errorhandler(500)(apologize)
    site.view("/crash")(view)
    assert site.result("/crash").headers["X-Kind"] == "apology"


def test_a_crash_may_come_when_all_is_kept(site: Site) -> None:
    """A large answer of the handler is a file beside that of the view, which never changes."""

    @site.view("/crash")
    def crash_at_the_end() -> Response:
        response = Response("x" * 100_000)
        response.call_on_close(crash)
        return response

    site.app.errorhandler(500)(lambda error: ("sorry " * 20_000, 500))
    where = site.start("/crash")
    site.run()
    answer = site.client.get(f"{where}/result", buffered=True)
    assert (answer.status_code, answer.text) == (500, "sorry " * 20_000)
    assert sorted(site.files()) == ["crash-1", "response-1"]


def test_the_handler_of_a_blueprint_comes_first(site: Site) -> None:
    """With what follows on its views."""
    blueprint = Blueprint("api", __name__)
    blueprint.errorhandler(500)(lambda error: ("of the blueprint", 500))

    @blueprint.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Api"] = "1"
        return response

    blueprint.post("/crash")(site.later.respond_async(crash))
    site.app.errorhandler(500)(apologize)
    site.app.register_blueprint(blueprint)
    answer = site.result("/crash")
    assert (answer.text, answer.headers["X-Api"]) == ("of the blueprint", "1")


def test_the_handler_of_the_error_comes_before_that_of_crashes(site: Site) -> None:
    """If it raises, that is a crash as well."""

    @site.app.errorhandler(ValueError)
    def handle(error: ValueError) -> None:
        raise KeyError

    site.app.errorhandler(500)(apologize)
    site.view("/crash")(crash)
    where = site.start("/crash")
    site.run()
    assert site.client.get(f"{where}/result").get_json() == {"sorry": "KeyError"}
    assert error_of(site, where).type == "KeyError"


def test_a_view_that_is_tried_again_has_not_crashed(site: Site) -> None:
    """The handler is asked once, in the end."""
    asked: list[int] = []

    @site.app.errorhandler(500)
    def handle(error: InternalServerError) -> tuple[str, int]:
        asked.append(current_job.attempt)
        return "sorry", 500

    @site.view("/flaky", retry=Retry(max_attempts=3, backoff=0))
    def flaky() -> None:
        if current_job.attempt == 1:
            raise TryAgain(5)
        raise OSError

    where = site.start("/flaky")
    advance(site.app, 5)
    assert asked == [4]
    assert site.client.get(f"{where}/result").text == "sorry"


def test_a_handler_that_crashes_leaves_the_problem(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Both errors can be read, and neither by the client."""
    site.app.errorhandler(500)(lambda error: 1 / 0)
    site.view("/crash")(crash)
    where = site.start("/crash")
    with caplog.at_level(logging.ERROR):
        site.run()
    answer = site.client.get(f"{where}/result")
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "ZeroDivisionError" in caplog.text
    assert error_of(site, where).type == "ValueError"


def test_a_failed_job_that_is_run_again_forgets_the_answer(site: Site) -> None:
    """There is no result until there is one."""
    site.app.errorhandler(500)(apologize)

    @site.view("/crash")
    def crash_once() -> str:
        tries.append(1)
        return str(1 / (len(tries) - 1))

    tries: list[int] = []
    where = site.start("/crash")
    site.run()
    with site.app.app_context():
        job = site.later.job(where[-32:]).retry()
    assert job.record.result is None
    site.run()
    assert site.client.get(f"{where}/result").text == "1.0"


def test_people_see_the_apps_own_page(site: Site) -> None:
    """As they would without us."""
    site.app.errorhandler(500)(lambda error: ("<h1>Oh dear</h1>", 500))
    site.view("/crash")(crash)
    where = site.start("/crash")
    site.run()
    answer = site.client.get(where, headers={"Accept": "text/html"}, follow_redirects=True)
    assert (answer.status_code, answer.text) == (500, "<h1>Oh dear</h1>")


def test_an_error_of_http_is_no_crash(site: Site) -> None:
    """A handler for it is asked as for any view, and the job has done what it was to do."""
    site.app.errorhandler(HTTPException)(lambda error: (f"about {error.code}", error.code))
    site.view("/missing")(lambda: abort(404))
    answer = site.result("/missing")
    assert (answer.status_code, answer.text) == (404, "about 404")
