"""The stream of events that a browser follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.shop import PATIENCE, until

from flask_later import current_job

from .conftest import MakeSite
from .site import USER, Site


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(EVENTS=True)


Event = dict[str, str]


def parsed(text: str) -> list[Event]:
    """The events of a stream, each as its fields."""
    blocks = [block for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def names(events: list[Event]) -> list[str]:
    return [event["event"] for event in events if "event" in event]


def ask(site: Site, where: str, seen: str | None = None, user: str | None = None) -> Any:
    headers = {"Accept": "text/event-stream"}
    if seen is not None:
        headers["Last-Event-ID"] = seen
    if user is not None:
        headers[USER] = user
    return site.client.get(f"{where}/events", headers=headers)


def test_a_stream_begins_with_how_it_is(site: Site) -> None:
    """And says when to come again."""
    where = site.start()
    answer = ask(site, where)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    retry, state = parsed(answer.text)
    assert retry == {"retry": "2000"}
    assert state["event"] == "state"
    assert f'"self":"{where}"' in state["data"]


def test_a_stream_ends_with_the_end(site: Site) -> None:
    """After the lines that were logged; what was seen is not told again."""

    @site.view("/lines")
    def lines() -> dict[str, int]:
        for number in range(250):
            current_job.log(f"line {number}\nü")
        return {"a": 1}

    where = site.start("/lines")
    site.run()
    events = parsed(ask(site, where).text)[1:]
    assert names(events) == ["log"] * 250 + ["end"]
    assert '"result":{"a":1}' in events[-1]["data"]
    again = parsed(ask(site, where, events[100]["id"]).text)[1:]
    assert names(again) == ["log"] * 149 + ["end"]


def test_who_has_seen_the_end_stays_away(site: Site) -> None:
    """204 is what tells a browser so."""
    where = site.start()
    site.run()
    events = parsed(ask(site, where).text)
    answer = ask(site, where, events[-1]["id"])
    assert (answer.status_code, answer.data) == (204, b"")


@pytest.mark.parametrize("seen", ["", "x", "-1:a", "1", "9" * 300 + ":", "٣:a"])
def test_an_id_that_is_not_ours_says_nothing(site: Site, seen: str) -> None:
    """The stream begins at the beginning."""
    where = site.start()
    assert names(parsed(ask(site, where, seen).text)) == ["state"]


def test_streams_are_an_option(make_site: MakeSite) -> None:
    """Each holds a thread, so the app has to want them."""
    site = make_site()
    answer = ask(site, site.start())
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_head_opens_no_stream(site: Site) -> None:
    """It takes no place, and has no body."""
    where = site.start()
    answer = site.client.head(f"{where}/events")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Type"].startswith("text/event-stream")


def test_only_so_many_streams_are_open(working: MakeSite) -> None:
    """503 and when to come again; a stream that is closed makes room."""
    site = working(EVENTS=True, MAX_STREAMS=2)
    site.gated()
    where = site.start("/gated")
    open_streams = [ask(site, where) for _ in range(2)]
    answer = ask(site, where)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    open_streams[0].close()
    assert ask(site, where).status_code == 200


def test_one_principal_does_not_get_all_streams(working: MakeSite) -> None:
    """Others follow something as well."""
    site = working(EVENTS=True, MAX_STREAMS=2)
    site.gated()
    where = site.start("/gated", user="ada")
    seen = [ask(site, where, user="ada").status_code for _ in range(2)]
    assert seen == [200, 503]
    other = site.start("/gated", user="bob")
    assert ask(site, other, user="bob").status_code == 200


def test_a_stream_tells_what_happens(working: MakeSite) -> None:
    """As it happens."""
    site = working(EVENTS=True)
    gate = site.gated("/unused")

    @site.view("/steps")
    def steps() -> None:
        gate.wait(PATIENCE)
        gate.clear()
        current_job.log("half")
        current_job.progress(1, 2)
        gate.wait(PATIENCE)

    where = site.start("/steps")
    until(lambda: site.document(where)["status"] == "running")
    stream = follow(ask(site, where))
    assert next(stream)["event"] == "state"
    gate.set()
    told = [next(stream), next(stream)]
    assert sorted(names(told)) == ["log", "progress"]
    gate.set()
    assert [*names([*stream])][-1:] == ["end"]


def follow(answer: Any) -> Iterator[Event]:
    """The events, as they come."""
    left = ""
    for piece in answer.response:
        left += piece.decode() if isinstance(piece, bytes) else piece
        while "\n\n" in left:
            block, _, left = left.partition("\n\n")
            if block.startswith("id: "):
                yield parsed(block)[0]
