"""What the app under test did: one line of JSON each, in a file that all its processes append to.

The app writes with :func:`record` and knows nothing else of the tests. The tests read with
:class:`EventLog`, and wait for conditions on it.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

#: Longer than anything here takes on a busy machine. No test measures with it.
PATIENCE = 30.0
_PAUSE = 0.02


def record(name: str, **facts: Any) -> None:
    """Append an event. One write to a file opened for appending is never torn nor mixed."""
    event = {
        "name": name,
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
        "at": time.monotonic(),
        **facts,
    }
    path = os.environ["LIVE_EVENTS"]
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(event).encode() + b"\n")
    finally:
        os.close(descriptor)


def new_key() -> str:
    """A name by which a test knows its own events."""
    return uuid.uuid4().hex


def wait_until(
    check: Callable[[], T], what: Callable[[], str] | str, timeout: float = PATIENCE
) -> T:
    """Ask *check* until it answers something true, and return that."""
    deadline = time.monotonic() + timeout
    while not (answer := check()):
        if time.monotonic() > deadline:
            text = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {timeout:g} s: {text}")
        time.sleep(_PAUSE)
    return answer


@dataclass(frozen=True)
class Event:
    name: str
    pid: int
    thread: str
    at: float
    facts: dict[str, Any]

    def __getitem__(self, fact: str) -> Any:
        return self.facts[fact]

    def has(self, facts: dict[str, Any]) -> bool:
        return all(self.facts.get(name) == value for name, value in facts.items())


@dataclass(frozen=True)
class EventLog:
    path: Path

    def all(self) -> list[Event]:
        if not self.path.exists():
            return []
        # A line without its end is still being written.
        lines = self.path.read_text().split("\n")[:-1]
        return [_event(json.loads(line)) for line in lines]

    def find(self, name: str, **facts: Any) -> list[Event]:
        return [event for event in self.all() if event.name == name and event.has(facts)]

    def pids(self, name: str, **facts: Any) -> Counter[int]:
        """How often each process did it."""
        return Counter(event.pid for event in self.find(name, **facts))

    def wait_for(
        self, name: str, *, count: int = 1, timeout: float = PATIENCE, **facts: Any
    ) -> list[Event]:
        """Return the events so called, with these facts, once there are *count* of them."""

        def enough() -> list[Event]:
            found = self.find(name, **facts)
            return found if len(found) >= count else []

        return wait_until(enough, lambda: f"{count} x {name} {facts}; there is\n{self}", timeout)

    def __str__(self) -> str:
        return "\n".join(
            f"  {event.at:.3f} {event.pid} {event.thread}: {event.name} {event.facts}"
            for event in self.all()
        )


def _event(facts: dict[str, Any]) -> Event:
    return Event(facts.pop("name"), facts.pop("pid"), facts.pop("thread"), facts.pop("at"), facts)
