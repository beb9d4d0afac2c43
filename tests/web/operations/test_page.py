"""The progress page, as the server renders it. How it lives in a browser: ``tests/browser``."""

from __future__ import annotations

import re

import pytest
from jinja2 import DictLoader
from werkzeug.test import TestResponse

from flask_later import Failure, Retry, TryAgain, current_job
from flask_later.core.exchange import Claim, Note, Want
from flask_later.core.store import WorkerRecord
from flask_later.tasks.state import AppState

from .conftest import MakeSite
from .site import Site

PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def look(site: Site, where: str, **headers: str) -> TestResponse:
    """What a person's browser is answered."""
    return site.client.get(where, headers={**PERSON, **headers})


def test_a_form_leads_to_the_page(site: Site) -> None:
    """A browser likes HTML better than JSON; the page is the operation, at its own URL."""
    answer = site.post(headers=PERSON)
    assert (answer.status_code, answer.data) == (303, b"")
    page = look(site, answer.headers["Location"])
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert page.headers["Vary"] == "Prefer, Accept"
    assert '<p class="later-state" data-state="queued">' in page.text


def test_the_page_loads_nothing_of_others(site: Site) -> None:
    """Whatever a log line holds, it is text; and where the page is, other sites do not learn."""
    page = look(site, site.start())
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {part.partition(" ")[2] for part in policy[1:]} == {"'self'", "'none'"}
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "private, no-cache"
    assert (
        re.findall(r"<script(?! type=\"module\" src=\"/)|<style| style=| on\w+=", page.text) == []
    )


def test_what_a_job_says_is_text(site: Site) -> None:
    """Its message, its log lines, and its last word."""

    @site.view("/hostile", title="<i>title</i>")
    def hostile() -> None:
        current_job.log("<i>line</i>")
        current_job.progress(1, 2, "<i>message</i>")
        raise Failure("<i>failure</i>")

    where = site.start("/hostile")
    site.run()
    page = look(site, where).text
    assert "<i>" not in page
    for word in ("title", "line", "message", "failure"):
        assert f"&lt;i&gt;{word}&lt;/i&gt;" in page


def test_a_title_is_the_name_of_the_view_unless_it_is_given(site: Site) -> None:
    """As people would write it."""

    @site.view("/yearly")
    def yearly_report() -> str:
        return ""

    assert ">Yearly report</h1>" in look(site, site.start("/yearly")).text


def test_a_lazy_title_is_told_by_whoever_asks(site: Site) -> None:
    """A translation is in the language of that request, and stays so."""
    languages = ["German"]

    class Lazy:
        def __str__(self) -> str:
            return f"Title in {languages[-1]}"

    @site.view("/lazy", title=Lazy())
    def lazy() -> str:
        return ""

    where = site.start("/lazy")
    languages.append("Greek")
    assert ">Title in German</h1>" in look(site, where).text


def test_a_job_of_ones_own_has_a_title_too(site: Site) -> None:
    """``accepted`` takes one."""

    @site.later.task
    def build() -> int:
        return 1

    @site.app.post("/own")
    def own() -> object:
        return site.later.accepted(build.enqueue(), title="Your own", result_url="/there")

    where = site.start("/own")
    assert ">Your own</h1>" in look(site, where).text
    site.run()
    answer = look(site, where)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/there")


def test_the_page_ends_on_the_result(site: Site) -> None:
    """Also where that is an error that the view has made."""

    @site.view("/gone")
    def gone() -> tuple[str, int]:
        return "<h1>gone</h1>", 410

    for path in ("/reports/2026", "/gone"):
        where = site.start(path)
        site.run()
        answer = look(site, where)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"{where}/result")


def test_a_download_has_a_page(site: Site) -> None:
    """Browsers save it, and stay where they are: a 303 would leave them at an unfinished bar."""

    @site.view("/table")
    def table() -> tuple[str, dict[str, str]]:
        return "a,b", {"Content-Disposition": 'Attachment; filename="table.csv"'}

    where = site.start("/table")
    site.run()
    page = look(site, where)
    assert page.status_code == 200
    assert f'href="{where}/result" data-later-result' in page.text
    assert f'<noscript><meta http-equiv="refresh" content="1; url={where}/result">' in page.text


def test_a_failure_has_a_page(site: Site) -> None:
    """What an exception says is not for clients, and is not on it."""

    @site.view("/bad")
    def bad() -> None:
        raise ValueError("the password is swordfish")

    where = site.start("/bad")
    site.run()
    page = look(site, where)
    assert "The operation failed." in page.text
    assert "swordfish" not in page.text
    assert "<form" not in page.text
    assert "http-equiv" not in page.text
    assert "Retry-After" not in page.headers


def test_the_page_says_what_it_waits_for(site: Site) -> None:
    """The number of the attempt, and when the next one comes."""

    @site.view("/later", retry=Retry(max_attempts=3))
    def later() -> None:
        raise TryAgain(delay=3600)

    where = site.start("/later")
    assert "Attempt" not in look(site, where).text
    site.run()
    page = " ".join(look(site, where).text.split())
    assert "Waiting for the next try" in page
    assert re.search(r'Attempt 1 of 3 · Next try at <time datetime="[^"]+Z">[\d:]+ UTC<', page)


def test_an_unchanged_page_is_not_sent_again(site: Site) -> None:
    """Also where a proxy that compresses has weakened its tag."""
    where = site.start()
    tag = look(site, where).headers["ETag"]
    for known in (tag, f"W/{tag}"):
        answer = look(site, where, **{"If-None-Match": known})
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
        assert answer.headers["Retry-After"] == "1"
    site.run()
    assert look(site, where, **{"If-None-Match": tag}).status_code == 303


def test_a_log_line_makes_another_page(site: Site) -> None:
    """Although the operation itself is as it was."""
    where = site.start()
    state: AppState = site.app.extensions["later"]
    store, worker = state.store, WorkerRecord("a" * 32, "here", 4711, state.clock.now(), None, 1)
    store.register(worker)
    [job] = store.exchange(worker.id, [], Want(1)).claimed
    tag = look(site, where).headers["ETag"]
    operation_tag = site.client.get(where).headers["ETag"]
    claim = Claim(job.id, job.fence)
    store.note(worker.id, [claim], [Note(claim, None, ["news"])])
    assert site.client.get(where).headers["ETag"] == operation_tag
    page = look(site, where, **{"If-None-Match": tag})
    assert page.status_code == 200
    assert "news" in page.text


def test_the_page_shows_the_last_lines(site: Site) -> None:
    """A hundred of them, each with its beginning."""

    @site.view("/long", retry=Retry(max_attempts=2))
    def long() -> None:
        for number in range(300):
            current_job.log(f"line {number} " + "x" * 1_000)
        raise TryAgain(delay=3600)

    where = site.start("/long")
    site.run()
    page = look(site, where).text
    assert page.count("<li>") == 100
    assert "line 199 " not in page
    assert "line 299 " in page
    assert len(page) < 100 * 650


def test_without_a_script_the_page_loads_itself_anew(site: Site) -> None:
    """As often as clients are asked to look, but not each second; and not if it is unwanted."""
    where = site.start()
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in look(site, where).text
    assert "http-equiv" not in look(site, f"{where}?still").text


@pytest.mark.parametrize("name", ["later-follow.js", "page.js", "page.css"])
def test_the_files_of_the_page(site: Site, name: str) -> None:
    """As what they are; and browsers ask whether they have changed, whatever the app's files do."""
    site.app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    answer = site.client.get(f"/operations/static/{name}")
    assert answer.status_code == 200
    assert answer.mimetype == {"js": "text/javascript", "css": "text/css"}[name.rpartition(".")[2]]
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer.close()


def test_no_other_file_is_served(site: Site) -> None:
    """A fixed list, no path."""
    for name in ("..%2Fpage.py", "page.py", "none"):
        assert site.client.get(f"/operations/static/{name}").status_code == 404


def test_an_app_says_it_in_its_own_words(make_site: MakeSite) -> None:
    """With templates of its own, which extend ours."""
    site = make_site()
    texts = """{% set language = "de" %}
        {% set states = {"queued": "Wartet"} %}{% set texts = {"cancel": "Abbrechen"} %}"""
    page = """{% extends "later/page.html" %}{% block footer %}<footer>{{ operation.id }}</footer>
        {% endblock %}{% block log %}{% endblock %}"""
    site.app.jinja_loader = DictLoader({"later/texts.html": texts, "later/operation.html": page})
    where = site.start()
    text = look(site, where).text
    assert '<html lang="de">' in text
    assert ">Wartet</p>" in text
    assert ">Abbrechen</button>" in text
    assert f"<footer>{where.rpartition('/')[2]}</footer>" in text
    assert "later-log" not in text
