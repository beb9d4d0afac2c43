"""Servers for the tests, and what they said when a test fails."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .servers import OTHERS, SERVERS, Server

Run = Callable[..., Server]


@pytest.fixture(scope="session", autouse=True)
def terminal() -> Iterator[None]:
    """Start programs as a terminal does, which no nohup before us keeps from hearing its end."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that many tests share; each uses keys of its own."""
    config = SERVERS[request.param]
    with Server(config=config, folder=tmp_path_factory.mktemp(config.name)) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start servers of this test alone, all on the same folder: a second one is a restart."""
    with ExitStack() as stack:

        def start(name: str, module: str = "app", **settings: Any) -> Server:
            config = {**SERVERS, **OTHERS}[name]
            server = Server(config=config, folder=tmp_path, settings=settings, module=module)
            return stack.enter_context(server)

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        for folder in _folders(item):
            for path in (*folder.glob("*.log"), *folder.glob("events.jsonl")):
                report.sections.append((str(path), path.read_text(errors="replace")))
    return report


def _folders(item: pytest.Item) -> list[Path]:
    """Where the servers of a test write."""
    arguments = getattr(item, "funcargs", None) or {}
    folders = [arguments["live"].folder] if "live" in arguments else []
    return folders + ([arguments["tmp_path"]] if "tmp_path" in arguments else [])
