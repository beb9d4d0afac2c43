"""The scene of a fault: one folder, one file, and the processes that share it."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.events import PATIENCE, EventLog, wait_until
from tests.live.programs import HERE as LIVE
from tests.live.programs import Program
from tests.live.servers import Config, Server, gunicorn

from .oracle import FINAL, Verdict, judge, opened, watch

HERE = Path(__file__).parent

#: A dead worker is noticed by its lock. Had its lease to run out, it would take twice as long.
NOTICED = 15.0

#: Where the programs find `events`, which they share with the live tests.
PATHS = {"PYTHONPATH": str(LIVE)}

GUNICORN = Config(
    "gunicorn",
    gunicorn("--threads=4", "--workers=2", f"--config={LIVE / 'gunicorn_start.py'}"),
    needs="gunicorn",
    processes=2,
    has_parent=True,
    starts_idle=True,
)


@dataclass(kw_only=True)
class Script(Program):
    """One of the scripts beside this file, perhaps under another program such as strace."""

    script: str
    arguments: Sequence[object] = ()
    under: Sequence[str] = ()
    number: int = 0

    @property
    def name(self) -> str:
        return f"{self.number:02}-{self.script}"

    @property
    def command(self) -> Sequence[str]:
        return [*self.under, sys.executable, f"{self.script}.py", *map(str, self.arguments)]

    @property
    def output(self) -> str:
        """What it printed, without the line that names the command."""
        return self.log.partition("\n")[2]

    def finish(self, timeout: float = 60.0) -> str:
        """Wait for its end, which has to be a good one; return what it printed."""
        code = self.wait(timeout)
        assert code == 0, self.log
        return self.output


@dataclass(kw_only=True)
class Supervisor(Program):
    """``flask later worker`` with two processes."""

    threads: int = 4

    @property
    def name(self) -> str:
        return "supervisor"

    @property
    def command(self) -> Sequence[str]:
        flask = (sys.executable, "-m", "flask", "--app=app")
        return [*flask, "later", "worker", "--processes=2", f"--threads={self.threads}"]


@dataclass
class Scene:
    """What all processes of a test share. Their settings are ``LATER_*`` keys, in lower case."""

    folder: Path
    stack: ExitStack
    settings: dict[str, Any] = field(default_factory=dict)
    started: int = 0

    @property
    def path(self) -> Path:
        return self.folder / "instance" / "later.sqlite3"

    @property
    def events(self) -> EventLog:
        return EventLog(self.folder / "events.jsonl")

    def prepare(self) -> None:
        """Have the file made, and watched by the oracle from its first job on."""
        self.run("prepare")
        watch(self.path)

    def start(
        self, script: str, *arguments: object, under: Sequence[str] = (), **settings: Any
    ) -> Script:
        self.started += 1
        program = Script(
            folder=self.folder,
            settings=PATHS | self.settings | settings,
            home=HERE,
            script=script,
            arguments=arguments,
            under=under,
            number=self.started,
        )
        return self.stack.enter_context(program)

    def run(self, script: str, *arguments: object, timeout: float = 60.0, **settings: Any) -> str:
        """Start a script and wait for its good end; return what it printed."""
        return self.start(script, *arguments, **settings).finish(timeout)

    def worker(self, *, under: Sequence[str] = (), **settings: Any) -> Script:
        """Start a worker, and wait until it works, unless something is to happen to it before."""
        program = self.start("worker", under=under, **settings)
        if "FAULT" not in settings and not under:
            wait_until(
                lambda: program.pid in self.events.pids("working") or not program.runs,
                lambda: f"the worker does not begin\n{program.log}",
            )
            assert program.runs, program.log
        return program

    def producer(
        self, count: int, *arguments: object, task: str = "effect", pause: float = 0, **more: Any
    ) -> Script:
        return self.start("producer", task, count, pause, *map(json.dumps, arguments), **more)

    def web(self, config: Config = GUNICORN, **settings: Any) -> Server:
        server = Server(
            config=config, folder=self.folder, settings=PATHS | self.settings | settings, home=HERE
        )
        return self.stack.enter_context(server)

    def supervisor(self, **settings: Any) -> Supervisor:
        return self.stack.enter_context(
            Supervisor(folder=self.folder, settings=PATHS | self.settings | settings, home=HERE)
        )

    def open_gate(self, key: str) -> None:
        gates = self.folder / "gates"
        gates.mkdir(exist_ok=True)
        (gates / key).touch()

    def database(self, patience: float = 30.0) -> AbstractContextManager[sqlite3.Connection]:
        """A connection of another program."""
        return opened(self.path, patience)

    def rows(self, statement: str, *values: object) -> list[Any]:
        with self.database() as db:
            return db.execute(statement, values).fetchall()

    def states(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        return dict(self.rows("SELECT state, count(*) FROM job GROUP BY state"))

    def wait_until_done(self, timeout: float = 2 * PATIENCE) -> None:
        """Wait until every job is finished."""
        wait_until(
            lambda: not set(self.states()) - {*FINAL}, lambda: f"all done: {self.states()}", timeout
        )

    def judge(self) -> Verdict:
        return judge(self.path, self.events)
