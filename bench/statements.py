"""What each SQL statement takes, of what a thread does: cProfile sees them all as one."""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any


class Statements:
    """Adds up calls and seconds by the text of the statement."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, statement: str, seconds: float) -> None:
        text = " ".join(statement.split())
        self._calls[text] += 1
        self._seconds[text] += seconds

    def clear(self) -> None:
        self._calls.clear()
        self._seconds.clear()

    def table(self, rounds: int) -> str:
        """Return them, the one that takes most first, in microseconds each round."""
        lines = [f"{'us':>8} {'calls':>6}  statement"]
        for text in sorted(self._seconds, key=lambda text: -self._seconds[text]):
            each, calls = self._seconds[text] / rounds * 1e6, self._calls[text] / rounds
            if each >= 0.05:
                lines.append(f"{each:8.2f} {calls:6.2f}  {text[:90]}")
        return "\n".join([*lines, ""])


@contextmanager
def watched() -> Generator[Statements]:
    """Watch the statements of all connections that are opened meanwhile.

    What a statement takes is what its ``execute`` takes; rows that are fetched later are not in it.
    """
    statements = Statements()
    connect = sqlite3.connect
    sqlite3.connect = partial(connect, factory=_watching(statements))
    try:
        yield statements
    finally:
        sqlite3.connect = connect


def _watching(statements: Statements) -> type[sqlite3.Connection]:
    class Watched(sqlite3.Connection):
        def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
            start = time.perf_counter()
            try:
                return super().execute(statement, values)
            finally:
                statements.add(statement, time.perf_counter() - start)

    return Watched
