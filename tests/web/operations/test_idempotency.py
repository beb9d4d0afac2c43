"""``Idempotency-Key``: the same request, sent again, is the same operation."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from .conftest import MakeSite
from .site import USER, Site

KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'


def post(site: Site, key: str = KEY, user: str | None = None, **kwargs: Any) -> TestResponse:
    headers = {"Idempotency-Key": key, **kwargs.pop("headers", {})}
    if user:
        headers[USER] = user
    return site.post(kwargs.pop("path", "/reports/2026"), headers=headers, **kwargs)


def test_the_same_request_is_the_same_operation(site: Site) -> None:
    """It is stored once, and runs once."""
    first, again = post(site, json={"a": 1}), post(site, json={"a": 1})
    assert first.status_code == again.status_code == 202
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert site.run() == 1


def test_the_answer_is_how_the_operation_is_now(site: Site) -> None:
    """Also once it is finished; a client that would wait gets its result."""
    post(site)
    site.run()
    again = post(site)
    assert (again.status_code, again.get_json()["status"]) == (202, "succeeded")
    waited = post(site, headers={"Prefer": "wait=5"})
    assert (waited.status_code, waited.get_json()) == (200, {"year": 2026})
    assert waited.headers["Preference-Applied"] == "wait=5"
    assert waited.headers["Content-Location"] == f"{again.headers['Location']}/result"
    assert site.run() == 0


@pytest.mark.parametrize(
    "other",
    [
        {"json": {"a": 2}},
        {"json": {"a": 1}, "path": "/reports/2027"},
        {"json": {"a": 1}, "query_string": "x=1"},
    ],
    ids=["body", "path", "query"],
)
def test_another_request_with_the_key_is_refused(site: Site, other: dict[str, Any]) -> None:
    """422, and nothing is stored."""
    post(site, json={"a": 1})
    answer = post(site, **other)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert site.run() == 1


def test_a_form_that_is_sent_again_is_the_same(site: Site) -> None:
    """Although its parts are set apart by another boundary."""
    answers = [
        post(
            site,
            data={"a": "1", "file": (io.BytesIO(b"x" * 100_000), "a.bin")},
            content_type=f"multipart/form-data; boundary={boundary}",
        )
        for boundary in ("first", "second")
    ]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert site.files() == ["request"]


def test_each_principal_has_keys_of_its_own(site: Site) -> None:
    """Nobody hears of somebody else's."""
    answers = [post(site, user=user) for user in ("ada", "bob", None)]
    assert len({answer.headers["Location"] for answer in answers}) == 3
    assert site.run() == 3


@pytest.mark.parametrize(
    ("first", "again"), [(KEY, KEY.strip('"')), ('"a\\"b"', '"a\\"b"'), ("x" * 255, "x" * 255)]
)
def test_a_key_may_come_without_its_quotes(site: Site, first: str, again: str) -> None:
    """As many clients send it."""
    assert post(site, first).headers["Location"] == post(site, again).headers["Location"]


@pytest.mark.parametrize("key", ["", '""', '"a', 'a"b', '"a"b', "x" * 256, '"ü"', "a b", "a, b"])
def test_a_malformed_key_is_refused(site: Site, key: str) -> None:
    """400, with an example."""
    answer = post(site, key)
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert site.run() == 0


def test_a_key_is_free_once_its_operation_is_deleted(site: Site) -> None:
    """It is kept as long as the operation."""
    first = post(site)
    site.run()
    site.client.delete(first.headers["Location"])
    assert "Idempotent-Replayed" not in post(site).headers


def test_fifty_at_once_are_one_operation(make_site: MakeSite, tmp_path: Path) -> None:
    """The key is stored with the job, in one commit."""
    site = make_site(STORE=f"sqlite:///{tmp_path}/later.sqlite3")
    answers: list[TestResponse] = []
    start = threading.Barrier(50)

    def ask() -> None:
        client = site.app.test_client()
        start.wait(10)
        answers.append(client.post("/reports/1", headers={"Idempotency-Key": KEY}))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(each.status_code, each.text) for each in answers if each.status_code != 202] == []
    assert len({each.headers["Location"] for each in answers}) == 1
    assert len(answers) == 50
    assert site.run() == 1
    site.app.extensions["later"].store.close()
