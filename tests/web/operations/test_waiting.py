"""``Prefer: wait``: at the start and on polls, as long as there are threads to spare."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from tests.shop import PATIENCE, until
from werkzeug.test import TestResponse

from flask_later import current_job
from flask_later.web.operations.waiting import Places

from .conftest import MakeSite
from .site import Site


def wait_for(seconds: int = 5, **headers: str) -> dict[str, str]:
    return {"Prefer": f"respond-async, wait={seconds}", **headers}


def in_background(site: Site, where: str, **headers: str) -> tuple[threading.Thread, list[Any]]:
    """Ask on another thread; the list has the answer then."""
    answers: list[TestResponse] = []

    def ask() -> None:
        answers.append(site.app.test_client().get(where, headers=headers))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


def taken(site: Site) -> int:
    return site.later._start._waiting._places._taken.total()


def test_what_is_quick_is_answered_with_its_result(working: MakeSite) -> None:
    """200 is the result, 202 is the operation."""
    site = working(MAX_WAITERS=1)
    answer = site.post(headers=wait_for())
    assert (answer.status_code, answer.get_json()) == (200, {"year": 2026})
    assert answer.headers["Preference-Applied"] == "wait=5"
    assert answer.headers["Content-Location"].startswith("/operations/")
    assert answer.headers["Content-Location"].endswith("/result")
    assert "Location" not in answer.headers


def test_what_takes_longer_is_answered_with_the_operation(working: MakeSite) -> None:
    """The wait is capped by the setting, and the answer says so."""
    site = working(MAX_WAITERS=1, MAX_WAIT=1)
    site.gated()
    began = time.monotonic()
    answer = site.post("/gated", headers=wait_for(60))
    assert 0.9 < time.monotonic() - began < PATIENCE
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async, wait=1"


@pytest.mark.parametrize("settings", [{"MAX_WAIT": 0}, {"MAX_WAITERS": 0}, {}])
def test_nobody_waits_where_that_is_off(working: MakeSite, settings: dict[str, int]) -> None:
    """Nor where the process serves one request at a time, as the test client says it does."""
    site = working(**settings)
    site.gated()
    answer = site.post("/gated", headers=wait_for())
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "", "9" * 10, '"', "5;5" * 1_000])
def test_a_wait_that_makes_no_sense_is_none(working: MakeSite, value: str) -> None:
    """A preference may be ignored, and is no error."""
    site = working(MAX_WAITERS=1)
    site.gated()
    answer = site.post("/gated", headers={"Prefer": f"wait={value}"})
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    ("value", "applied"),
    [
        ("wait=3, wait=5", "wait=3"),
        ("WAIT=3, foo, wait=5", "wait=3"),
        ('foo="a, wait=5", wait = "3"; b', "wait=3"),
        ("wait=x, wait=5", None),
    ],
)
def test_the_first_of_a_preference_counts(
    working: MakeSite, value: str, applied: str | None
) -> None:
    """By RFC 7240: the others are to be ignored."""
    site = working(MAX_WAITERS=1)
    answer = site.post(headers={"Prefer": value})
    assert answer.headers.get("Preference-Applied") == applied


def test_a_poll_waits_for_the_end(working: MakeSite) -> None:
    """It is answered at once when that comes."""
    site = working(MAX_WAITERS=1)
    gate = site.gated()
    where = site.start("/gated")
    thread, answers = in_background(site, where, Prefer="wait=10")
    until(lambda: taken(site) == 1)
    gate.set()
    thread.join(PATIENCE)
    assert answers[0].get_json()["status"] == "succeeded"
    assert answers[0].headers["Preference-Applied"] == "wait=10"
    assert taken(site) == 0


def test_a_poll_waits_for_news_of_what_it_knows(working: MakeSite) -> None:
    """Progress is news."""
    site = working(MAX_WAITERS=1)
    gate = threading.Event()
    site.gates.append(gate)

    @site.view("/steps")
    def steps() -> None:
        gate.wait(PATIENCE)
        gate.clear()
        current_job.progress(1, 2)
        gate.wait(PATIENCE)

    where = site.start("/steps")
    until(lambda: site.document(where)["status"] == "running")
    known = site.client.get(where).headers["ETag"]
    thread, answers = in_background(site, where, Prefer="wait=10", **{"If-None-Match": known})
    until(lambda: taken(site) == 1)
    gate.set()
    thread.join(PATIENCE)
    assert answers[0].status_code == 200
    assert answers[0].get_json()["progress"]["current"] == 1


def test_only_so_many_wait(working: MakeSite) -> None:
    """The others are answered at once, and told when to come again."""
    site = working(MAX_WAITERS=1)
    gate = site.gated()
    where = site.start("/gated")
    thread, answers = in_background(site, where, Prefer="wait=10")
    until(lambda: taken(site) == 1)
    answer = site.client.get(where, headers={"Prefer": "wait=10"})
    assert answer.get_json()["done"] is False
    assert "Preference-Applied" not in answer.headers
    assert answer.headers["Retry-After"]
    gate.set()
    thread.join(PATIENCE)
    assert answers[0].get_json()["done"]


def test_head_does_not_wait(working: MakeSite) -> None:
    """It has no body to wait for."""
    site = working(MAX_WAITERS=1)
    site.gated()
    where = site.start("/gated")
    answer = site.client.head(where, headers={"Prefer": "wait=10"})
    assert "Preference-Applied" not in answer.headers


def test_a_stop_ends_the_waits(working: MakeSite) -> None:
    """A process that ends does not keep them."""
    site = working(MAX_WAITERS=1, MAX_WAIT=60, SHUTDOWN_TIMEOUT=0.1)
    site.gated()
    where = site.start("/gated")
    thread, answers = in_background(site, where, Prefer="wait=60")
    until(lambda: taken(site) == 1)
    site.later.stop(site.app)
    thread.join(PATIENCE)
    assert answers[0].get_json()["done"] is False


def test_one_principal_gets_half_of_the_places() -> None:
    """And nobody in particular, who is many, all of them."""
    places = Places()
    leave = [places.take("ada", 3) for _ in range(3)]
    assert [each is not None for each in leave] == [True, True, False]
    assert places.take("bob", 3)
    assert places.take("cyd", 3) is None
    assert leave[0] is not None
    leave[0]()
    assert places.take(None, 3)
