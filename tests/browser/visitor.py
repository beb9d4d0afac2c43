"""Somebody who uses the app with a browser, and what they see."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, expect
from tests.live.servers import Server

#: Where pictures of the pages are kept, to be looked at.
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
DESKTOP, PHONE = (1_000, 760), (360, 740)
#: Milliseconds in which something has to be seen.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)


@dataclass
class Visitor:
    page: Page
    server: Server
    #: What the pictures are called.
    name: str
    prefix: str = ""
    #: Names the gates of this visitor alone.
    key: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    #: What the browser complained about.
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._listen)
        self.page.on("pageerror", self._hear)

    # What they do

    def open(self, path: str) -> None:
        host, port = self.server.address
        self.page.goto(f"http://{host}:{port}{self.prefix}{path}")

    def start(self, what: str) -> None:
        """Send the form that starts this, and wait for the page that it leads to."""
        self.open("/")
        form = self.page.locator("form", has=self.page.get_by_role("button", name=what, exact=True))
        form.get_by_role("textbox").fill(self.key)
        form.get_by_role("button").click()
        self.page.wait_for_url(re.compile("/operations/"))

    def let(self, *gates: str) -> None:
        """Let the work go on through these gates."""
        for gate in gates:
            self.server.open_gate(f"{self.key}-{gate}")

    # What they see

    @property
    def title(self) -> Locator:
        return self.page.get_by_role("heading", level=1)

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def bar(self) -> Locator:
        return self.page.get_by_role("progressbar")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("list").get_by_role("listitem")

    @property
    def cancel(self) -> Locator:
        return self.page.get_by_role("button", name="Cancel")

    def take_picture(self, what: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{self.name}-{what}.png"
        self.page.screenshot(path=path, full_page=True, animations="disabled")

    def take_complaints(self) -> list[str]:
        """What the browser has complained about, where that is as it should be."""
        complaints, self.complaints = self.complaints, []
        return complaints

    def barriers(self) -> list[str]:
        """What keeps people out, as axe-core sees it: every rule that it has."""
        results = Axe().run(self.page)
        return [f"{each['id']}: {each['help']}" for each in results.response["violations"]]

    def _listen(self, message: ConsoleMessage) -> None:
        asked_by_itself = message.location["url"].endswith("/favicon.ico")
        if message.type in {"error", "warning"} and not asked_by_itself:
            self.complaints.append(f"{message.type}: {message.text} ({self.page.url})")

    def _hear(self, error: Error) -> None:
        self.complaints.append(f"{error} ({self.page.url})")


class Visitors:
    """The visitors of one test."""

    def __init__(self, browser: Browser, server: Server, name: str) -> None:
        self._browser = browser
        self._server = server
        self._name = name
        self._here: list[Visitor] = []

    def come(
        self,
        *,
        script: bool = True,
        dark: bool = False,
        phone: bool = False,
        server: Server | None = None,
        prefix: str = "",
    ) -> Visitor:
        width, height = PHONE if phone else DESKTOP
        context = self._browser.new_context(
            java_script_enabled=script,
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": height},
            device_scale_factor=2 if phone else 1,
        )
        visitor = Visitor(context.new_page(), server or self._server, self._name, prefix)
        self._here.append(visitor)
        return visitor

    def leave(self) -> None:
        for visitor in self._here:
            visitor.page.context.close()
        assert [complaint for each in self._here for complaint in each.complaints] == []
