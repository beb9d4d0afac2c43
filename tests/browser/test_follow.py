"""``later-follow.js`` on a page of the app's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect
from tests.live.events import wait_until
from tests.live.servers import Server

from .visitor import Visitor, Visitors


class Follower:
    """A page that follows an operation, and the questions that it asks."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.page: Page = visitor.page
        self.where = ""
        self.asked: list[tuple[float, Request]] = []
        self.page.on("request", self._listen)

    def start(self) -> None:
        """Start some work, as a script of the app does it, and follow it."""
        self.visitor.open("/")
        self.where = self.page.evaluate(
            """async key => {
                const body = new URLSearchParams({ key });
                const answer = await fetch("/own", { method: "POST", body });
                return answer.headers.get("Location");
            }""",
            self.visitor.key,
        )
        self.follow(self.where)

    def follow(self, where: str) -> None:
        self.where = where
        self.visitor.open(f"/own?operation={quote(where)}")

    def expect_last(self, text: str) -> None:
        expect(self.page.locator("#last")).to_have_text(text)

    @property
    def heard(self) -> dict[str, Any]:
        heard: dict[str, Any] = self.page.evaluate("window.heard")
        return heard

    def _listen(self, request: Request) -> None:
        if request.url.endswith(self.where) and request.resource_type == "fetch" and self.where:
            self.asked.append((time.monotonic(), request))


@pytest.fixture
def follower(visitor: Visitor) -> Iterator[Follower]:
    follower = Follower(visitor)
    yield follower
    visitor.let("spring", "summer", "autumn", "winter")


def test_each_version_is_told_and_the_last_returned(follower: Follower) -> None:
    """``onEnd`` gets the same, once."""
    follower.start()
    follower.expect_last("running 0")
    follower.visitor.let("spring")
    follower.expect_last("running 25")
    follower.visitor.let("summer", "autumn", "winter")
    follower.expect_last("over")
    heard = follower.heard
    assert heard["returned"] == heard["updates"][-1]
    assert heard["ends"] == [heard["returned"]]
    assert heard["returned"]["result"] == {"key": follower.visitor.key}


def test_what_is_unchanged_is_not_sent_again(follower: Follower) -> None:
    """It asks with the tag that it knows, not sooner than the server said, and tells nothing."""
    follower.start()
    follower.expect_last("running 0")
    known = len(follower.asked)
    told = len(follower.heard["updates"])
    wait_until(lambda: follower.page.wait_for_timeout(50) or len(follower.asked) >= known + 3, "?")
    times = [at for at, _ in follower.asked[known:]]
    response = follower.asked[known + 1][1].response()
    assert response is not None
    assert response.status == 304
    assert min(later - at for at, later in pairwise(times)) > 0.8
    assert len(follower.heard["updates"]) == told


def test_a_hidden_tab_asks_nothing(follower: Follower) -> None:
    """And asks at once when somebody looks again."""
    follower.start()
    follower.expect_last("running 0")
    _set_visibility(follower.page, "hidden")
    follower.page.wait_for_timeout(300)  # what is under way
    known = len(follower.asked)
    follower.visitor.let("spring")
    follower.page.wait_for_timeout(3_000)  # there is no event for a question that is not asked
    assert len(follower.asked) == known
    _set_visibility(follower.page, "visible")
    follower.expect_last("running 25")


def test_an_abort_ends_it_without_a_word(follower: Follower) -> None:
    """Null is returned, and ``onEnd`` not called."""
    follower.start()
    follower.expect_last("running 0")
    follower.page.evaluate("window.stop.abort()")
    follower.expect_last("over")
    assert follower.heard["ends"] == []
    assert follower.heard["returned"] is None


def test_what_is_not_there_ends_it(follower: Follower) -> None:
    """Unknown, foreign, expired: there is nothing to wait for."""
    follower.follow(f"/operations/{'0' * 32}")
    follower.expect_last("over")
    assert follower.heard == {"updates": [], "ends": [None], "returned": None}
    [complaint] = follower.visitor.take_complaints()
    assert "status of 404" in complaint


def test_a_login_in_between_ends_it(follower: Follower) -> None:
    """A redirect is not followed: the page that it leads to is no operation."""
    where = f"/operations/{'0' * 32}"
    follower.page.route(
        lambda url: urlsplit(url).path == where,
        lambda route: route.fulfill(status=302, headers={"Location": "/login"}),
    )
    follower.follow(where)
    follower.expect_last("over")
    assert follower.heard == {"updates": [], "ends": [None], "returned": None}


def test_a_network_that_fails_is_tried_again(follower: Follower) -> None:
    """More slowly each time, and as if nothing had been once it is back."""
    failures: list[float] = []

    def fail_thrice(route: Route) -> None:
        if len(failures) == 3:
            route.continue_()
        elif len(failures) == 1:
            failures.append(time.monotonic())
            route.fulfill(status=503, headers={"Retry-After": "3"})
        else:
            failures.append(time.monotonic())
            route.abort()

    follower.start()
    follower.expect_last("running 0")
    follower.page.route(f"**{follower.where}", fail_thrice)
    follower.visitor.let("spring")
    follower.expect_last("running 25")
    first, second = (later - at for at, later in pairwise(failures))
    assert first > 0.9
    assert second > 2.9
    complaints = follower.visitor.take_complaints()
    assert len(complaints) == 3


def test_events_are_heard_where_they_are_offered(
    visitors: Visitors, server_with_events: Server
) -> None:
    """One question, and then none: what is new comes by itself."""
    follower = Follower(visitors.come(server=server_with_events))
    with follower.page.expect_request("**/events") as listening:
        follower.start()
    assert listening.value.resource_type == "eventsource"
    for number, season in enumerate(["spring", "summer", "autumn"], start=1):
        follower.visitor.let(season)
        follower.expect_last(f"running {25 * number}")
    follower.visitor.let("winter")
    follower.expect_last("over")
    assert len(follower.asked) == 1
    assert follower.heard["returned"]["result"] == {"key": follower.visitor.key}
    assert follower.heard["ends"] == [follower.heard["returned"]]


def test_who_is_not_let_listen_asks(visitors: Visitors, server_with_events: Server) -> None:
    """As if there were no events: 503 is the answer when too many listen."""
    follower = Follower(visitors.come(server=server_with_events))
    follower.page.route("**/events", lambda route: route.fulfill(status=503))
    follower.start()
    follower.expect_last("running 0")
    follower.visitor.let("spring", "summer", "autumn", "winter")
    follower.expect_last("over")
    assert len(follower.asked) > 1
    assert follower.heard["returned"]["status"] == "succeeded"
    [complaint] = follower.visitor.take_complaints()
    assert "status of 503" in complaint


def _set_visibility(page: Page, state: str) -> None:
    """Tell the page what the browser tells it when its tab is left, or looked at again."""
    page.evaluate(
        """state => {
            const hidden = { value: state === "hidden", configurable: true };
            Object.defineProperty(document, "hidden", hidden);
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )
