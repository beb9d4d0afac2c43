"""The page on every screen: without barriers, in light and dark, on a phone, behind a prefix."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.live.servers import Server

from .visitor import Visitor, Visitors

#: What is seen, with the form that starts it and the gates to there.
SIGHTS = {
    "running": ("reports", ["spring", "summer"], "Running"),
    "done": ("tables", ["spring", "summer", "autumn", "winter"], "Done"),
    "failed": ("failures", ["spring"], "Failed"),
    "unmeasured": ("searches", [], "Running"),
    "waiting": ("visits", [], "Waiting"),
}


def see(visitor: Visitor, sight: str) -> None:
    """Have the page in that state; a bar that moved, and a word that came, stand still."""
    form, gates, status = SIGHTS[sight]
    visitor.start(form)
    visitor.let(*gates)
    expect(visitor.status).to_contain_text(status)
    if sight == "running":
        expect(visitor.bar).to_have_attribute("value", "50.0")
        expect(visitor.log).to_have_count(3)


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_nobody_is_kept_out(visitors: Visitors, sight: str, dark: bool, phone: bool) -> None:
    """By contrast, by missing names, by what a keyboard cannot reach. Nothing is cut off."""
    visitor = visitors.come(dark=dark, phone=phone)
    see(visitor, sight)
    visitor.take_picture("page")
    assert visitor.barriers() == []
    width = visitor.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_refusal_can_be_read(visitors: Visitors, dark: bool, phone: bool) -> None:
    """As well as what goes well."""
    visitor = visitors.come(dark=dark, phone=phone)
    visitor.open(f"/operations/{'0' * 32}")
    expect(visitor.title).to_have_text("Not Found")
    visitor.take_picture("page")
    assert visitor.barriers() == []
    assert ["404" in complaint for complaint in visitor.take_complaints()] == [True]


def test_who_wants_no_motion_sees_none(visitors: Visitors) -> None:
    """Nothing moves by itself where the system is set so."""
    visitor = visitors.come()
    visitor.page.emulate_media(reduced_motion="reduce")
    see(visitor, "unmeasured")
    assert visitor.page.evaluate("document.getAnimations().length") == 0
    visitor.page.emulate_media(reduced_motion="no-preference")
    assert visitor.page.evaluate("document.getAnimations().length") > 0


def test_a_screen_reader_hears_of_states_alone(visitors: Visitors) -> None:
    """Neither the share nor the lines are said while they come: nobody could listen to that."""
    visitor = visitors.come()
    see(visitor, "running")
    said = visitor.page.locator("[aria-live], [role=status], [role=alert], [role=log]")
    expect(said).to_have_count(1)
    expect(said).to_have_text("Running")
    visitor.page.evaluate("""
        window.said = [];
        const listen = new MutationObserver((changes) => window.said.push(changes.length));
        const all = { subtree: true, childList: true, characterData: true, attributes: true };
        listen.observe(document.querySelector("[role=status]"), all);
    """)
    visitor.let("autumn")
    expect(visitor.bar).to_have_attribute("value", "75.0")
    assert visitor.page.evaluate("window.said") == []


def test_the_focus_stays_or_goes_where_it_makes_sense(visitors: Visitors) -> None:
    """It stays on the button while the page changes; when that is gone, it is on the title."""
    visitor = visitors.come()
    visitor.start("tables")
    expect(visitor.status).to_have_text("Running")
    visitor.cancel.focus()
    visitor.let("spring")
    expect(visitor.bar).to_have_attribute("value", "25.0")
    expect(visitor.cancel).to_be_focused()
    with visitor.page.expect_download():
        visitor.let("summer", "autumn", "winter")
    expect(visitor.title).to_be_focused()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_behind_a_prefix(visitors: Visitors, server_below: Server, script: bool) -> None:
    """Every address has it: the files, the button, the result."""
    visitor = visitors.come(script=script, server=server_below, prefix="/shop")
    visitor.start("reports")
    assert "/shop/operations/" in visitor.page.url
    visitor.let("spring")
    expect(visitor.bar).to_have_attribute("value", "25.0")
    visitor.cancel.click()
    expect(visitor.status).to_have_text("Cancelled")
    visitor.start("tables")
    with visitor.page.expect_download() as download:
        visitor.let("spring", "summer", "autumn", "winter")
    assert "/shop/operations/" in download.value.url
    assert download.value.url.endswith("/result")


def test_a_button_of_another_site_does_nothing(visitors: Visitors, server: Server) -> None:
    """A form on ``localhost`` that sends to ``127.0.0.1``, where the work runs."""
    visitor = visitors.come()
    visitor.start("reports")
    expect(visitor.status).to_have_text("Running")
    target = visitor.page.url
    foreign = visitors.come()
    foreign.page.goto(f"http://localhost:{server.port}/")
    with foreign.page.expect_navigation(url=re.compile("/cancel$")) as navigation:
        foreign.page.evaluate(
            """target => {
                const form = document.createElement("form");
                Object.assign(form, { method: "post", action: `${target}/cancel` });
                document.body.append(form);
                form.submit();
            }""",
            target,
        )
    response = navigation.value
    assert response is not None
    assert response.status == 403
    [complaint] = foreign.take_complaints()
    assert "status of 403" in complaint
    visitor.let("spring")
    expect(visitor.bar).to_have_attribute("value", "25.0")
