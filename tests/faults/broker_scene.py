"""A scene on a database and a broker: an app's processes, and the workers of an engine.

The oracle reads the database with plain SQL, and has triggers of its own there, as in the file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kombu import Connection
from tests.brokers import RabbitMQ, Redis
from tests.databases import DatabaseServer, is_alive
from tests.live.events import wait_until
from tests.live.programs import Program

from flask_later.core.store import LEASE

from . import audits
from .oracle import FINAL, Change, Verdict, compare
from .scene import HERE, PATHS, Scene

BIN = Path(sys.executable).parent
CELERY = (f"{BIN}/celery", "-A", "flask_later.engines.celery_app", "worker", "--concurrency=2")
RQ = (f"{BIN}/rq", "worker", "-w", "flask_later.engines.rq_worker.Worker", "default")
OURS = (sys.executable, "-m", "flask", "--app=app", "later", "worker", "--threads=2")
#: The commands that start workers of each engine: the library's own, and ours.
COMMANDS = {"celery": (CELERY, OURS), "rq": (RQ, OURS), "native": (OURS, OURS)}
#: Where Redis keeps the hints of each engine.
KEYS = {"celery": "default", "rq": "rq:queue:default"}

#: A dead worker's jobs run again after its lease of 30 seconds, and a slow machine has many left.
NOTICED = 300.0


@dataclass(kw_only=True)
class Command(Program):
    """An engine's worker."""

    command: Sequence[str] = ()  # type: ignore[misc]
    number: int = 0

    @property
    def name(self) -> str:
        return f"worker-{self.number}"


@dataclass
class BrokerScene(Scene):
    """*server* holds the jobs, *broker* brings the hints."""

    server: DatabaseServer | None = None
    broker: Redis | RabbitMQ | None = None
    engine: str = "celery"

    def __post_init__(self) -> None:
        url = self.broker.new_url() if self.broker is not None else ""
        self.settings |= {
            **({"broker": url, "RQ_REDIS_URL": url} if url else {}),
            "engine": self.engine,
            "embedded": "false",
            "store": self.url,
            "FLASK_APP": "app",
        }

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def prepare(self) -> None:
        self.run("prepare")
        audits.watch(self.url)

    def execute(self, statement: str) -> list[Any]:
        return audits.execute(self.url, statement)

    def states(self) -> dict[str, int]:
        return dict(self.execute("SELECT state, count(*) FROM later_job GROUP BY state"))

    def wait_until_done(self, timeout: float = NOTICED) -> None:
        wait_until(
            lambda: not set(self.states()) - {*FINAL}, lambda: f"all done: {self.states()}", timeout
        )

    def pids_at_work(self) -> set[int]:
        """Who runs jobs, and some of those who did when they died."""
        return {pid for (pid,) in self.execute("SELECT pid FROM later_worker")}

    def let_leases_run_out(self) -> None:
        """Let the last beats of those who are dead be as long ago as a lease is."""
        dead = [
            f"'{worker}'"
            for worker, pid in self.execute("SELECT id, pid FROM later_worker")
            if not is_alive(pid)
        ]
        if dead:
            self.execute(
                f"UPDATE later_worker SET beat_at = beat_at - {int((LEASE + 1) * 1e6)} "
                f"WHERE id IN ({', '.join(dead)})"
            )

    def judge(self) -> Verdict:
        rows = self.execute("SELECT job, was, now, fence_was, fence FROM audit ORDER BY n")
        stored = self.execute("SELECT id, payload FROM later_job")
        return compare(self.events, stored, [Change(*row) for row in rows])

    def work(self, command: Sequence[str], **settings: Any) -> Command:
        self.started += 1
        worker = Command(
            folder=self.folder,
            settings=PATHS | self.settings | settings,
            home=HERE,
            command=command,
            number=self.started,
        )
        return self.stack.enter_context(worker)

    def flush(self) -> int:
        """Make the broker forget all that it holds; return how many hints that were."""
        assert self.broker is not None
        with Connection(str(self.settings["broker"])) as connection:
            channel: Any = connection.default_channel
            if isinstance(self.broker, RabbitMQ):
                return int(channel.queue_purge("default"))
            held = channel.client.llen(KEYS[self.engine])
            channel.client.flushall()
            return int(held)
