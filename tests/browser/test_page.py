"""People start work by a form, watch it on the progress page, and get what they wanted."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from .visitor import Visitor, Visitors


def test_a_form_leads_to_the_result(any_visitor: Visitor) -> None:
    """The bar moves, lines come, and the result takes the place of the page."""
    visitor = any_visitor
    visitor.start("reports")
    expect(visitor.title).to_have_text("Yearly report")
    expect(visitor.status).to_have_text("Running")
    for number, season in enumerate(["spring", "summer"], start=1):
        visitor.let(season)
        expect(visitor.bar).to_have_attribute("value", f"{25.0 * number}")
        expect(visitor.page).to_have_title(f"{25 * number} % · Yearly report")
        expect(visitor.log.nth(number)).to_contain_text(season.capitalize())
    expect(visitor.page.get_by_text("Adding up the sales")).to_be_visible()
    visitor.take_picture("half")
    visitor.let("autumn", "winter")
    expect(visitor.title).to_have_text("The report")
    assert visitor.page.url.endswith("/result")


def test_a_download_leaves_a_page_behind_that_says_done(any_visitor: Visitor) -> None:
    """Browsers save such a result and stay where they are."""
    visitor = any_visitor
    visitor.start("tables")
    expect(visitor.bar).to_be_visible()
    with visitor.page.expect_download() as download:
        visitor.let("spring", "summer", "autumn", "winter")
    assert download.value.suggested_filename == "sales.csv"
    expect(visitor.status).to_have_text("Done")
    expect(visitor.bar).to_have_attribute("value", "100.0")
    with visitor.page.expect_download() as again:
        visitor.page.get_by_role("link", name="Download").click()
    assert again.value.path().read_text().startswith("season,sales")
    visitor.take_picture("done")


def test_a_failure_says_what_its_author_wrote(any_visitor: Visitor) -> None:
    """And the bar stays where it was."""
    visitor = any_visitor
    visitor.start("failures")
    visitor.let("spring")
    expect(visitor.status).to_contain_text("Failed")
    expect(visitor.bar).to_have_attribute("value", "25.0")
    expect(visitor.status).to_contain_text("The bookkeeping does not answer.")
    expect(visitor.page).to_have_title("Failed · Monthly report")
    expect(visitor.cancel).to_have_count(0)
    visitor.take_picture("failed")


def test_what_a_view_refuses_is_shown_as_it_made_it(any_visitor: Visitor) -> None:
    """Its own page, as from any other view."""
    visitor = any_visitor
    visitor.start("refusals")
    expect(visitor.title).to_have_text("There is no such day.")
    assert visitor.page.url.endswith("/result")
    [complaint] = visitor.take_complaints()
    assert "status of 404" in complaint


def test_cancel(any_visitor: Visitor) -> None:
    """The work stops at its next item, and the page says so."""
    visitor = any_visitor
    visitor.start("reports")
    visitor.let("spring")
    expect(visitor.bar).to_have_attribute("value", "25.0")
    visitor.cancel.click()
    expect(visitor.status).to_have_text("Cancelled")
    expect(visitor.cancel).to_have_count(0)
    visitor.take_picture("cancelled")


def test_work_without_a_measure_is_shown_as_such(any_visitor: Visitor) -> None:
    """Nobody is told a share that nobody knows."""
    visitor = any_visitor
    visitor.start("searches")
    expect(visitor.page.get_by_text("Three boxes are searched")).to_be_visible()
    assert visitor.bar.get_attribute("value") is None
    visitor.take_picture("unmeasured")
    visitor.let("end")
    visitor.page.wait_for_url("**/result")


def test_what_waits_says_until_when(any_visitor: Visitor) -> None:
    """The number of the attempt, and the time of the next."""
    visitor = any_visitor
    visitor.start("visits")
    expect(visitor.status).to_have_text("Waiting for the next try")
    expect(visitor.page.get_by_text(re.compile("Attempt 1 of 3 · Next try at"))).to_be_visible()
    visitor.take_picture("waiting")
    visitor.cancel.click()
    expect(visitor.status).to_have_text("Cancelled")


def test_a_reload_can_be_stopped(visitors: Visitors) -> None:
    """For whoever reads slowly, or by ear, and has no JavaScript."""
    visitor = visitors.come(script=False)
    visitor.start("reports")
    note = visitor.page.locator("noscript p")
    expect(note).to_be_visible()
    expect(note).to_contain_text("reloads every 2 seconds")
    note.locator("a").click()
    assert "refresh" not in visitor.page.content()
    visitor.let("spring")
    expect(note).to_have_text("Reload")
    note.locator("a").click()
    expect(visitor.bar).to_have_attribute("value", "25.0")
    visitor.let("summer", "autumn", "winter")
    visitor.page.wait_for_url("**/result")
