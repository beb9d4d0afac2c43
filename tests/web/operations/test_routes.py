"""The routes of an operation: status, result, cancel and delete."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Response

from flask_later import Failure, TryAgain, current_job
from flask_later.core.job import Discard, Progress
from flask_later.testing import advance
from flask_later.testing.records import START, make_record
from flask_later.web.operations.document import etag
from flask_later.web.operations.operation import Operation

from .conftest import MakeSite
from .site import Site


def test_the_status_is_the_operation_as_it_is(site: Site) -> None:
    """In the end with the result, if that is JSON."""
    where = site.start()
    site.run()
    document = site.document(where)
    assert (document["status"], document["done"]) == ("succeeded", True)
    assert document["result"] == {"year": 2026}
    assert document["progress"] == {
        "current": 1,
        "total": 4,
        "percent": 25.0,
        "message": "reading",
        "updated_at": document["started_at"],
    }
    assert document["links"] == {
        "self": where,
        "cancel": None,
        "events": None,
        "result": f"{where}/result",
    }
    assert document["expires_at"] > document["finished_at"] >= document["started_at"]


def test_what_is_unchanged_is_not_told_again(site: Site) -> None:
    """304, with the time to ask again."""
    answer = site.post()
    where, known = answer.headers["Location"], answer.headers["ETag"]
    answer = site.client.get(where, headers={"If-None-Match": known})
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["ETag"] == known
    site.run()
    answer = site.client.get(where, headers={"If-None-Match": known})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != known
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ("{}", 304),
        ("W/{}", 304),
        ('"other", W/{}', 304),
        ("*", 304),
        ('"other"', 200),
        ('W/"other", "another"', 200),
        ("", 200),
        ("nonsense", 200),
    ],
)
def test_tags_are_compared_as_http_has_it(site: Site, known: str, status: int) -> None:
    """Weakly, also one of several: a proxy that compresses weakens them."""
    answer = site.post()
    where, tag = answer.headers["Location"], answer.headers["ETag"]
    answer = site.client.get(where, headers={"If-None-Match": known.format(tag)})
    assert (answer.status_code, answer.headers["ETag"]) == (status, tag)


def test_nothing_has_no_type(site: Site) -> None:
    """In the answer to DELETE and to OPTIONS."""
    where = site.start()
    site.run()
    for answer in (site.client.options(where), site.client.delete(where)):
        assert (answer.status_code, answer.data) == (204, b"")
        assert "Content-Type" not in answer.headers


def test_what_follows_on_every_response_follows_on_a_304(site: Site) -> None:
    """Its headers are sent, and its end is told."""

    @site.app.after_request
    def follow(response: Response) -> Response:
        response.headers["X-Frame-Options"] = "DENY"
        response.call_on_close(lambda: closed.append(response.status_code))
        return response

    closed: list[int] = []
    answer = site.post()
    where, tag = answer.headers["Location"], answer.headers["ETag"]
    with site.client.get(where, headers={"If-None-Match": tag}, buffered=True) as answer:
        assert answer.status_code == 304
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Content-Type" not in answer.headers
    assert 304 in closed


@pytest.mark.parametrize("path", ["", "/result"])
def test_what_is_deleted_while_it_is_looked_at_is_gone(site: Site, path: str) -> None:
    """Between the look whose it is and the look at all of it."""

    @site.later.authorize
    def delete(operation: Operation) -> bool:
        if operation.is_done:
            site.app.extensions["later"].store.command(operation.id, Discard())
        return True

    where = site.start()
    site.run()
    assert site.client.get(f"{where}{path}").status_code == 404


def test_progress_that_is_told_again_is_a_change() -> None:
    """It says that the work goes on."""
    told = make_record(progress=Progress(1, 4), progress_at=START)
    again = told._replace(progress_at=START + timedelta(seconds=1))
    assert etag(told) != etag(again)


def test_the_result_is_not_there_before_the_end(site: Site) -> None:
    """409, with the time to ask again."""
    where = site.start()
    answer = site.client.get(f"{where}/result")
    assert (answer.status_code, answer.content_type) == (409, "application/problem+json")
    assert answer.headers["Retry-After"] == "1"


def test_an_exception_is_a_failed_operation_that_tells_nothing(site: Site) -> None:
    """Its text was not written for clients."""

    @site.view("/bad")
    def bad() -> None:
        raise ValueError("the password is swordfish")

    where = site.start("/bad")
    site.run()
    document = site.document(where)
    assert (document["status"], document["done"], document["result"]) == ("failed", True, None)
    assert document["error"] == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "The operation failed.",
        "instance": where,
    }
    answer = site.client.get(f"{where}/result")
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert answer.get_json() == document["error"]


def test_a_failure_tells_what_its_author_wrote(site: Site) -> None:
    """For clients to read."""

    @site.view("/bad")
    def bad() -> None:
        raise Failure("The data source did not answer.")

    where = site.start("/bad")
    site.run()
    assert site.document(where)["error"]["detail"] == "The data source did not answer."


def test_an_operation_that_waits_for_its_next_try_is_queued(site: Site) -> None:
    """The document says until when."""

    @site.view("/busy")
    def busy() -> None:
        raise TryAgain(60)

    where = site.start("/busy")
    site.run()
    document = site.document(where)
    assert (document["status"], document["attempt"]) == ("queued", 1)
    assert document["next_attempt_at"] > document["created_at"]


def test_what_was_begun_again_without_a_failure_shows_no_attempt_too_many(site: Site) -> None:
    """Never "attempt 2 of 1": neither a later try that the view asks for nor a crash counts."""

    @site.view("/busy")
    def busy() -> str:
        if current_job.attempt == 1:
            raise TryAgain(0)
        return "ok"

    where = site.start("/busy")
    site.run()
    document = site.document(where)
    assert (document["attempt"], document["max_attempts"]) == (2, 2)


# Cancel and delete


def test_a_queued_operation_is_cancelled_at_once(site: Site) -> None:
    """Its view never runs."""
    where = site.start()
    answer = site.client.post(f"{where}/cancel")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "cancelled")
    assert site.run() == 0
    assert site.client.get(f"{where}/result").status_code == 409


def test_a_running_operation_is_asked_to_stop(site: Site) -> None:
    """202: that it was asked shows, and what became of it will."""
    seen = []

    @site.view("/long")
    def long() -> None:
        answer = site.app.test_client().post(f"/operations/{current_job.id}/cancel")
        seen.append((answer.status_code, answer.get_json()))

    where = site.start("/long")
    site.run()
    [(status, document)] = seen
    assert (status, document["status"], document["cancel_requested"]) == (202, "running", True)
    assert site.document(where)["done"]


def test_what_is_finished_cannot_be_cancelled(site: Site) -> None:
    """409, and it stays as it is."""
    where = site.start()
    site.run()
    assert site.client.post(f"{where}/cancel").status_code == 409
    assert site.document(where)["status"] == "succeeded"


def test_a_finished_operation_can_be_deleted(site: Site) -> None:
    """Then it is unknown."""
    where = site.start()
    assert site.client.delete(where).status_code == 409
    site.run()
    answer = site.client.delete(where)
    assert (answer.status_code, answer.data) == (204, b"")
    assert site.client.get(where).status_code == 404


# Methods


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("", "GET, DELETE, HEAD, OPTIONS"),
        ("/result", "GET, HEAD, OPTIONS"),
        ("/cancel", "POST, OPTIONS"),
        ("/events", "GET, HEAD, OPTIONS"),
    ],
)
def test_every_resource_says_what_it_allows(site: Site, path: str, allow: str) -> None:
    """To OPTIONS, and to what it does not."""
    where = site.start() + path
    answer = site.client.options(where)
    assert (answer.status_code, answer.data, answer.headers["Allow"]) == (204, b"", allow)
    answer = site.client.put(where)
    assert (answer.status_code, answer.content_type) == (405, "application/problem+json")
    assert answer.headers["Allow"] == allow


def test_head_is_a_get_without_a_body(site: Site) -> None:
    """With the same headers."""
    where = site.start()
    got, headed = site.client.get(where), site.client.head(where)
    assert headed.data == b""
    assert dict(headed.headers) == dict(got.headers)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_asking_changes_nothing(site: Site, method: str) -> None:
    """Whatever is asked, and however the operation is."""
    places = [site.start(), site.start()]
    site.client.post(f"{places[0]}/cancel")
    store = site.app.extensions["later"].store
    before = store.find().records
    for where in places:
        for path in ("", "/result", "/cancel", "/events"):
            site.client.open(where + path, method=method)
    assert store.find().records == before


# Whose it is


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("HEAD", ""),
        ("GET", "/result"),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ],
)
@pytest.mark.parametrize("user", ["bob", None])
def test_somebody_elses_operation_looks_like_none(
    site: Site, method: str, path: str, user: str | None
) -> None:
    """To the byte, on every route, for others and for nobody in particular."""
    where = site.start(user="ada")
    headers = {"X-User": user} if user else {}
    foreign = site.client.open(where + path, method=method, headers=headers)
    unknown = site.client.open(f"/operations/{'0' * 32}{path}", method=method, headers=headers)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.data == unknown.data
    assert [*foreign.headers] == [*unknown.headers]
    assert site.document(where, "ada")["status"] == "queued"


def test_what_nobody_in_particular_has_started_is_for_who_knows_its_url(site: Site) -> None:
    """Which nobody can guess."""
    where = site.start()
    assert site.document(where, "bob")["status"] == "queued"


def test_nobody_in_particular_can_be_kept_out(make_site: MakeSite) -> None:
    """401, and nothing is stored."""
    site = make_site(ANONYMOUS_OPERATIONS=False)
    answer = site.post()
    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == 'Session realm="shop"'
    assert site.run() == 0
    assert site.start(user="ada")


def test_the_hook_lets_in_whom_it_wants(site: Site) -> None:
    """True lets in, False keeps out, and None leaves it to the rule."""
    verdicts: list[bool | None] = [True, False, None]
    where = site.start(user="ada")
    site.later.authorize(lambda operation: verdicts.pop(0))
    seen = [site.client.get(where, headers={"X-User": "bob"}).status_code for _ in range(2)]
    seen.append(site.client.get(where, headers={"X-User": "ada"}).status_code)
    assert seen == [200, 404, 200]


def test_a_hook_that_raises_keeps_out(site: Site) -> None:
    """Also the owner: nobody knows what it meant to say."""
    where = site.start(user="ada")

    @site.later.authorize
    def decide(operation: object) -> bool:
        raise ValueError

    assert site.client.get(where, headers={"X-User": "ada"}).status_code == 404


@pytest.mark.parametrize(
    "name",
    ["x", "..%2f..%2fetc", "0" * 10_000, "%00", "%F0%9F%92%A9", "' OR 1=1 --", "0" * 31 + "G"],
)
def test_what_is_no_id_is_unknown(site: Site, name: str) -> None:
    """Whatever it is."""
    answer = site.client.get(f"/operations/{name}")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
    ],
)
def test_a_page_of_another_site_changes_nothing(
    make_site: MakeSite, headers: dict[str, str], status: int
) -> None:
    """Whatever cookies the browser sends along."""
    site = make_site(TRUSTED_ORIGINS=["https://app.example"])
    where = site.start()
    answer = site.client.post(f"{where}/cancel", headers=headers)
    assert answer.status_code == status
    assert site.document(where)["status"] == ("cancelled" if status == 200 else "queued")
    site.run()
    answer = site.client.delete(where, headers=headers)
    assert answer.status_code == (204 if status == 200 else 403)


# Expiry


def test_an_operation_that_has_expired_is_gone(site: Site) -> None:
    """410 for a day, and then nobody knows that it was there."""
    where = site.start()
    site.run()
    advance(site.app, timedelta(days=6, seconds=-1))
    assert site.client.get(f"{where}/result").status_code == 200
    advance(site.app, 1)
    for path in (where, f"{where}/result"):
        answer = site.client.get(path)
        assert (answer.status_code, answer.content_type) == (410, "application/problem+json")
    advance(site.app, timedelta(days=1, seconds=10))
    assert site.client.get(f"{where}/result").status_code == 404


@pytest.mark.parametrize(
    ("age", "pause"), [(0, 1), (4, 1), (5, 2), (29, 2), (30, 5), (119, 5), (120, 10), (9999, 10)]
)
def test_the_older_it_is_the_less_often_it_is_asked_for(site: Site, age: int, pause: int) -> None:
    """Retry-After grows with the age of the operation."""

    @site.view("/busy")
    def busy() -> None:
        raise TryAgain(100_000)

    where = site.start("/busy")
    advance(site.app, age)
    assert site.client.get(where).headers["Retry-After"] == str(pause)


# Pages


def test_a_browser_is_sent_to_the_page(site: Site) -> None:
    """303 to the operation, which is a page for it, and in the end to the result."""
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = site.post(headers=headers)
    assert answer.status_code == 303
    where = answer.headers["Location"]
    page = site.client.get(where, headers=headers)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    site.run()
    answer = site.client.get(where, headers=headers)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{where}/result")
