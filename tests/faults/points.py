"""Named points at which a program under test breaks, armed by its environment.

``FAULT=before_add_commit:kill9`` kills the process when it is about to commit its first enqueue;
``FAULT=after_task:stop:3`` freezes it when a task has returned for the third time.

Importing this wraps what the library calls: the connections of ``sqlite3``, and the call of a task.
The library knows nothing of it. What a transaction is about is told from its statements:

===========  =====================================================
``add``      a job is inserted
``direct``   a job is inserted as running
``claim``    a job becomes running
``settle``   a job becomes succeeded, failed, cancelled
``prune``    jobs are deleted
``tables``   tables are made, or changed
===========  =====================================================

Points: ``after_begin``, ``before_X_commit`` and ``after_X_commit`` for each of them, ``in_prune``
and ``in_tables`` at each of their statements, ``before_checkpoint``, ``after_checkpoint``,
``before_task``, ``after_task``.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from events import record

from flask_later.runtime import execution

_FINAL = {"succeeded", "failed", "cancelled"}
_TABLES = ("CREATE", "ALTER", "DROP")
_STATE = re.compile(r"state\s*=\s*'(\w+)'")


def _kill9() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise RuntimeError("a fault of the test")


def _sleep() -> None:
    time.sleep(3600)


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill9": _kill9,
    "stop": _stop,
    "raise": _raise,
    "sleep": _sleep,
}


class Fault:
    """What is armed: the action of one point, at its n-th passing."""

    def __init__(self, text: str) -> None:
        point, _, rest = text.partition(":")
        action, _, number = rest.partition(":")
        self._point = point
        self._act = _ACTIONS[action]
        self._at = int(number or 1)
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def passes(self, point: str) -> None:
        with self._lock:
            self._passed[point] += 1
            met = point == self._point and self._passed[point] == self._at
        if met:
            record("fault", point=point)
            self._act()


class Connection(sqlite3.Connection):
    """Tells the points of its transactions."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.about: set[str] = set()

    def cursor(self, *_: Any) -> Cursor:
        return super().cursor(Cursor)

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        return self.cursor().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        return self.cursor().executemany(*arguments)


class Cursor(sqlite3.Cursor):
    connection: Connection

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        before, after = self._points(statement)
        _pass(before)
        super().execute(statement, values)
        self._learn(statement, values)
        _pass(after)
        return self

    def executemany(self, statement: str, values: Iterable[Any]) -> sqlite3.Cursor:
        rows = [*values]
        super().executemany(statement, rows)
        for row in rows:
            self._learn(statement, row)
        return self

    def _points(self, statement: str) -> tuple[list[str], list[str]]:
        text = statement.strip().upper()
        if text.startswith("BEGIN IMMEDIATE"):
            self.connection.about = set()
            return [], ["after_begin"]
        if text.startswith("COMMIT"):
            about = sorted(self.connection.about)
            return [f"before_{x}_commit" for x in about], [f"after_{x}_commit" for x in about]
        if "WAL_CHECKPOINT" in text:
            return ["before_checkpoint"], ["after_checkpoint"]
        if text.startswith("DELETE FROM JOB"):
            return ["in_prune"], []
        return (["in_tables"], []) if text.startswith(_TABLES) else ([], [])

    def _learn(self, statement: str, values: Any) -> None:
        text = statement.split()
        match [word.upper() for word in text[:3]]:
            case ["INSERT", *_] if re.search(r"\binto\s+job\b", statement, re.IGNORECASE):
                self.connection.about.add("add")
                if "running" in values:
                    self.connection.about.add("direct")
            case ["DELETE", "FROM", "JOB"]:
                self.connection.about.add("prune")
            case ["CREATE" | "ALTER" | "DROP", *_]:
                self.connection.about.add("tables")
            case ["UPDATE", "JOB", _]:
                self._learn_state(statement, values)

    def _learn_state(self, statement: str, values: Any) -> None:
        written = statement.upper().partition("WHERE")[0]
        bound = [*values.values()] if isinstance(values, dict) else [*values]
        states = {value for value in bound if isinstance(value, str)}
        states |= {*_STATE.findall(statement[: len(written)])}
        if "running" in states:
            self.connection.about.add("claim")
        if states & _FINAL:
            self.connection.about.add("settle")


def _pass(points: Iterable[str]) -> None:
    for point in points:
        _fault.passes(point)


def _install() -> None:
    connect, run = sqlite3.connect, execution.run

    def traced_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **{"factory": Connection, **options})

    def traced_run(*arguments: Any, **options: Any) -> Any:
        _fault.passes("before_task")
        ended = run(*arguments, **options)
        _fault.passes("after_task")
        return ended

    sqlite3.connect = traced_connect
    execution.run = traced_run


if "FAULT" in os.environ:
    _fault = Fault(os.environ["FAULT"])
    _install()
