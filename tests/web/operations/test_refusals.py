"""Refusals, told to whoever asks: a document for programs, a page for people."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jinja2 import DictLoader

from .conftest import MakeSite
from .site import USER, Site

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
UNKNOWN = f"/operations/{'0' * 32}"
ADA = {USER: "ada"}


def unknown(site: Site) -> dict[str, Any]:
    return {"method": "GET", "path": UNKNOWN}


def foreign(site: Site) -> dict[str, Any]:
    return {"method": "GET", "path": site.start(user="bob")}


def wrong_method(site: Site) -> dict[str, Any]:
    return {"method": "PUT", "path": UNKNOWN}


def of_another_site(site: Site) -> dict[str, Any]:
    where = f"{site.start(user='ada')}/cancel"
    return {"method": "POST", "path": where, "headers": {"Sec-Fetch-Site": "cross-site"}}


def unfinished(site: Site) -> dict[str, Any]:
    return {"method": "GET", "path": f"{site.start(user='ada')}/result"}


def cancelled(site: Site) -> dict[str, Any]:
    where = site.start(user="ada")
    site.client.post(f"{where}/cancel", headers=ADA)
    return {"method": "GET", "path": f"{where}/result"}


def too_many(site: Site) -> dict[str, Any]:
    for _ in range(2):
        site.start(user="ada")
    return {"method": "POST", "path": "/reports/2026"}


def malformed(site: Site) -> dict[str, Any]:
    json = {"data": "{", "content_type": "application/json"}
    return {"method": "POST", "path": "/reports/2026", **json}


REFUSALS = {
    unknown: 404,
    foreign: 404,
    wrong_method: 405,
    of_another_site: 403,
    unfinished: 409,
    cancelled: 409,
    too_many: 429,
    malformed: 400,
}


@pytest.mark.parametrize("refused", REFUSALS)
def test_people_read_a_page(make_site: MakeSite, refused: Any) -> None:
    """With the same status, and the headers that matter; it loads nothing but our own files."""
    site = make_site(MAX_PENDING_PER_PRINCIPAL=2)
    request = refused(site)
    headers = {**ADA, **request.pop("headers", {})}
    document = site.client.open(**request, headers=headers)
    page = site.client.open(**request, headers={**headers, "Accept": BROWSER})
    assert document.status_code == page.status_code == REFUSALS[refused]
    assert (document.mimetype, page.mimetype) == ("application/problem+json", "text/html")
    for name in ("Cache-Control", "Retry-After", "Allow", "X-Content-Type-Options"):
        assert page.headers.get(name) == document.headers.get(name)
    problem = document.get_json()
    assert f"<h1>{problem['title']}</h1>" in page.text
    assert f"<p>{problem['detail']}</p>" in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert re.findall(r"<script| style=| on\w+=", page.text) == []


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/html;q=0.5, application/json", "image/png", ""]
)
def test_programs_get_a_document(site: Site, accept: str) -> None:
    """Whoever does not like HTML better."""
    answer = site.client.get(UNKNOWN, headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_an_unknown_one_and_a_foreign_one_are_the_same_page(site: Site) -> None:
    """Nobody learns what there is."""
    headers = {**ADA, "Accept": BROWSER}
    foreign = site.client.get(site.start(user="bob"), headers=headers)
    unknown = site.client.get(UNKNOWN, headers=headers)
    assert (foreign.status, foreign.data) == (unknown.status, unknown.data)
    assert [*foreign.headers] == [*unknown.headers]


def test_what_is_there_already_can_be_reached(site: Site) -> None:
    """By a link to the operation."""

    @site.later.task
    def build() -> None: ...

    def own() -> object:
        return site.later.accepted(build.using(unique_key="k").enqueue())

    site.app.add_url_rule("/own", view_func=own)
    where = site.client.get("/own").headers["Location"]
    answer = site.client.get("/own", headers={"Accept": BROWSER})
    assert (answer.status_code, f'href="{where}"' in answer.text) == (409, True)


def test_the_result_of_a_failed_one_leads_to_the_operation(site: Site) -> None:
    """Where its log can be read."""
    site.view("/bad")(lambda: 1 / 0)
    where = site.start("/bad")
    site.run()
    answer = site.client.get(f"{where}/result", headers={"Accept": BROWSER})
    assert (answer.status_code, f'href="{where}"' in answer.text) == (500, True)


def test_an_app_has_a_page_of_its_own(site: Site) -> None:
    """Or changes what all of them have in common."""
    own = {
        "later/problem.html": '{% extends "later/base.html" %}'
        "{% block main %}{{ problem.status }}{% endblock %}",
        "later/texts.html": '{% set language = "de" %}{% set states = {} %}{% set texts = {} %}',
    }
    site.app.jinja_loader = DictLoader(own)
    text = site.client.get(UNKNOWN, headers={"Accept": BROWSER}).text
    assert "<main>404</main>" in "".join(text.split("\n"))
    assert '<html lang="de">' in text
