"""A browser, the servers that it visits, and what it complained about."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.live.servers import Config, Server, gunicorn

from .visitor import Visitor, Visitors

#: Two processes, so that a page meets the one that does not run its job.
GUNICORN = Config("gunicorn", gunicorn("--threads=4", "--workers=2"), needs="gunicorn")
HERE = Path(__file__).parent
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They start real servers."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("live")


# A module at the most: its event loop runs in this thread, where others need none. ("package"
# lasts for the whole session where a folder has no __init__.py.)
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. None is ever downloaded."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: make services, as root")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("browser")
    with Server(config=GUNICORN, folder=folder, home=HERE) as server:
        yield server


@pytest.fixture(scope="module")
def server_below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same behind a prefix of the URL."""
    folder, settings = tmp_path_factory.mktemp("below"), {"SCRIPT_NAME": "/shop"}
    with Server(config=GUNICORN, folder=folder, home=HERE, settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def server_with_events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same, which lets clients listen: one at a time in each process."""
    folder, settings = tmp_path_factory.mktemp("events"), {"events": "true", "max_streams": 1}
    with Server(config=GUNICORN, folder=folder, home=HERE, settings=settings) as server:
        yield server


@pytest.fixture
def visitors(
    browser: Browser, server: Server, request: pytest.FixtureRequest
) -> Iterator[Visitors]:
    """Make visitors of any kind. In the end none of them may have seen an error."""
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
    visitors = Visitors(browser, server, name)
    yield visitors
    visitors.leave()


@pytest.fixture
def visitor(visitors: Visitors) -> Visitor:
    return visitors.come()


@pytest.fixture(params=["script", "no script"])
def any_visitor(visitors: Visitors, request: pytest.FixtureRequest) -> Visitor:
    """With JavaScript, and without."""
    return visitors.come(script=request.param == "script")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Server):
                report.sections.append((value.name, value.log))
    return report
