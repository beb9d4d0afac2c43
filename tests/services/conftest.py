"""Databases, and programs that use them from processes of their own."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import databases

from flask_later.core.clock import SystemClock
from flask_later.stores.sql import SQLStore

PROGRAMS = Path(__file__).parent / "programs"
#: Seconds for a thread that still ends.
PATIENCE = 30.0

Start = Callable[..., subprocess.Popen[str]]
Open = Callable[..., SQLStore]


def open_connections() -> list[psycopg.Connection]:
    """Return those of PostgreSQL's driver, which complains of each that nobody closes."""
    found = [each for each in gc.get_objects() if isinstance(each, psycopg.Connection)]
    return [each for each in found if not each.closed]


@pytest.fixture(scope="module", autouse=True)
def every_connection_is_closed() -> Iterator[None]:
    """Or the complaint would come whenever the last one who knows it is gone: in any other test."""
    before = open_connections()
    yield
    deadline = time.monotonic() + PATIENCE
    while left := [each for each in open_connections() if each not in before]:
        assert time.monotonic() < deadline, f"nobody has closed {left}"
        time.sleep(0.1)


@pytest.fixture(params=["postgresql", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each test for both."""
    kind: str = request.param
    return kind


@pytest.fixture
def url(kind: str) -> str:
    """A store that is empty, on a server that all tests share."""
    url = databases.url_of(kind)
    databases.empty(url)
    return url


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open stores, by the system's clock; they are closed at the end."""
    with ExitStack() as stack:

        def opened(url: str, **options: Any) -> SQLStore:
            store = SQLStore(url, SystemClock(), **options)
            stack.callback(store.close)
            store.open()
            return store

        yield opened


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, PROGRAMS / f"{program}.py", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def output_of(process: subprocess.Popen[str]) -> str:
    """Return what *process* printed; it has to end well."""
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    return output.strip()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(processes: list[subprocess.Popen[str]]) -> None:
    """Let all of them begin, once all are ready."""
    for process in processes:
        assert read_line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
