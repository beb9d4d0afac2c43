"""A scene on a database and a broker: an app's processes, an engine's workers, and who breaks them.

The oracle reads the database with plain SQL, and has triggers of its own there, as in the file.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from kombu import Connection
from tests.brokers import RabbitMQ, Redis
from tests.databases import DatabaseServer
from tests.live.events import wait_until
from tests.live.programs import Program

from .chaos import children_of
from .oracle import FINAL, Change, Verdict, compare
from .scene import HERE, PATHS, Scene, Script

BIN = Path(sys.executable).parent
CELERY = (f"{BIN}/celery", "-A", "flask_later.engines.celery_app", "worker", "--concurrency=2")
RQ = (f"{BIN}/rq", "worker", "-w", "flask_later.engines.rq_worker.Worker", "default")
OURS = (sys.executable, "-m", "flask", "--app=app", "later", "worker", "--threads=2")
#: The commands that start workers of each engine: the library's own, and ours.
COMMANDS = {"celery": (CELERY, OURS), "rq": (RQ, OURS), "native": (OURS, OURS)}

#: Jobs that a worker has in hand at most.
HANDS = 4
#: What the tasks and the producers take, in seconds.
TASK, BREATH = 0.02, 0.02
#: Seconds between two faults: the least and the most.
PAUSE = (0.2, 1.5)
#: A dead worker's jobs run again after its lease of 30 seconds.
NOTICED = 120.0

_AUDIT = """
    CREATE TABLE audit (
        n BIGSERIAL PRIMARY KEY, job TEXT, was TEXT, now TEXT, fence_was BIGINT, fence BIGINT
    );
    CREATE FUNCTION audit_change() RETURNS trigger AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO audit (job, was, now, fence_was, fence)
            VALUES (NEW.id, NULL, NEW.state, NULL, NEW.fence);
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO audit (job, was, now, fence_was, fence)
            VALUES (OLD.id, OLD.state, NULL, OLD.fence, NULL);
        ELSIF OLD.state <> NEW.state OR OLD.fence <> NEW.fence THEN
            INSERT INTO audit (job, was, now, fence_was, fence)
            VALUES (NEW.id, OLD.state, NEW.state, OLD.fence, NEW.fence);
        END IF;
        RETURN NULL;
    END $$ LANGUAGE plpgsql;
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON later_job
    FOR EACH ROW EXECUTE FUNCTION audit_change();
"""


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
        assert self.server is not None
        url = self.broker.new_url() if self.broker is not None else ""
        self.settings |= {
            **({"broker": url, "RQ_REDIS_URL": url} if url else {}),
            "engine": self.engine,
            "embedded": "false",
            "store": self.server.url,
            "FLASK_APP": "app",
        }

    def prepare(self) -> None:
        self.run("prepare")
        self.execute(_AUDIT)

    def execute(self, statement: str) -> list[Any]:
        assert self.server is not None
        url = self.server.url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(url, autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def states(self) -> dict[str, int]:
        return dict(self.execute("SELECT state, count(*) FROM later_job GROUP BY state"))

    def wait_until_done(self, timeout: float = NOTICED) -> None:
        wait_until(
            lambda: not set(self.states()) - {*FINAL}, lambda: f"all done: {self.states()}", timeout
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

    def flush(self) -> None:
        """Make the broker forget all that it holds."""
        assert self.broker is not None
        with suppress(Exception), Connection(str(self.settings["broker"])) as connection:
            if isinstance(self.broker, Redis):
                connection.default_channel.client.flushall()
            else:
                connection.default_channel.queue_purge("default")


@dataclass
class BrokerChaos:
    """One run, as its seed makes it."""

    scene: BrokerScene
    chance: random.Random
    did: Counter[str] = field(default_factory=Counter)
    #: The most runs that the faults so far can have made of jobs that ran already.
    duplicates: int = 0

    def __post_init__(self) -> None:
        commands = COMMANDS[self.scene.engine]
        self.workers = [(self.scene.work(command), command) for command in commands]
        self.producers = [self._producer() for _ in range(2)]

    def run(self, seconds: float) -> None:
        """Break something again and again, and let all of it work at the end."""
        faults: list[Callable[[], None]] = [
            self.kill_worker, self.kill_child, self.kill_producer, self.stop_worker,
            self.restart_database,
        ]  # fmt: skip
        if self.scene.broker is not None:
            faults += [self.kill_broker, self.flush_broker, self.flush_broker]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            fault = self.chance.choice(faults)
            fault()
            self.did[fault.__name__] += 1
            time.sleep(self.chance.uniform(*PAUSE))
        for producer in self.producers:
            producer.kill()

    # What is done to them

    def kill_worker(self) -> None:
        """With all of its processes."""
        number = self.chance.randrange(len(self.workers))
        worker, command = self.workers[number]
        for child in children_of(worker.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        worker.kill()
        self._replace(number, command)

    def kill_child(self) -> None:
        """One of the processes of a worker, which starts another."""
        worker, _ = self.chance.choice(self.workers)
        children = children_of(worker.pid)
        if children:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(children), signal.SIGKILL)
            self.duplicates += HANDS

    def stop_worker(self) -> None:
        """In good order; what it gives back may have begun."""
        number = self.chance.randrange(len(self.workers))
        worker, command = self.workers[number]
        worker.signal(signal.SIGTERM)
        with suppress(AssertionError):
            worker.wait(15.0)
        worker.kill()
        self._replace(number, command)

    def kill_producer(self) -> None:
        number = self.chance.randrange(len(self.producers))
        self.producers[number].kill()
        self.producers[number] = self._producer()

    def restart_database(self) -> None:
        """As if its power had failed: what runs meanwhile cannot settle, and may run again."""
        assert self.scene.server is not None
        self.scene.server.restart()
        self.duplicates += HANDS * len(self.workers)

    def kill_broker(self) -> None:
        assert self.scene.broker is not None
        self.scene.broker.kill()
        time.sleep(self.chance.uniform(0.0, 2.0))
        self.scene.broker.start()

    def flush_broker(self) -> None:
        self.scene.flush()

    # How it goes on

    def _replace(self, number: int, command: Sequence[str]) -> None:
        self.duplicates += HANDS
        self.workers[number] = (self.scene.work(command), command)

    def _producer(self) -> Script:
        return self.scene.producer(1_000_000, TASK, pause=BREATH, DOUBLED="1")
