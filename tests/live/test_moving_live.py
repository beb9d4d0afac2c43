"""Apps that move from Celery or RQ task by task: the blocks of ``docs/moving.md`` as they stand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import databases
from tests.brokers import Redis
from tests.docs.pages import read

from .programs import Program, environment

pytestmark = [pytest.mark.live, pytest.mark.services]

BIN = Path(sys.executable).parent
#: Of the old task and of the new one.
RESULTS = [5, 6]
NEW = """
    job = multiply.enqueue(2, 3)
    new = job.wait(timeout=90).result
print([old, new])
"""
ON_CELERY = f"""
from app import add_together, create_app, multiply
with create_app().app_context():
    old = add_together.delay(2, 3).get(timeout=90)
{NEW}
"""
ON_RQ = f"""
import time
from rq import Queue
from app import add_together, create_app, multiply
app = create_app()
with app.app_context():
    job = Queue("old", connection=app.config["LATER_BROKER"]).enqueue(add_together, 2, 3)
    deadline = time.monotonic() + 90
    while (old := job.return_value()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
{NEW}
"""


@dataclass(kw_only=True)
class Worker(Program):
    command: Sequence[str] = ()  # type: ignore[misc]

    @property
    def name(self) -> str:
        return f"{Path(self.command[0]).name}-{self.command[-1]}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("engine", "program", "commands"),
    [
        (
            "celery",
            ON_CELERY,
            [(f"{BIN}/celery", "-A", "flask_later.engines.celery_app", "worker")],
        ),
        (
            "rq",
            ON_RQ,
            [
                (f"{BIN}/rq", "worker", "old"),
                (f"{BIN}/flask", "--app", "app", "later", "worker"),
            ],
        ),
    ],
)
def test_old_and_new_tasks_run_side_by_side(
    engine: str,
    program: str,
    commands: Sequence[Sequence[str]],
    redis: Redis,
    tmp_path: Path,
    stack: ExitStack,
) -> None:
    """On the broker that is there, by the commands of the page."""
    block = read("docs/moving.md").block_noted(f"moves {engine}")
    (tmp_path / "app.py").write_text(block.text, encoding="utf-8")
    broker = redis.new_url()
    settings = {
        "store": stack.enter_context(databases.fresh("postgresql")),
        "FLASK_APP": "app",
        "FLASK_CELERY": json.dumps({"broker_url": broker, "result_backend": broker}),
        "FLASK_RQ_REDIS_URL": broker,
        "RQ_REDIS_URL": broker,
        "PYTHONPATH": str(tmp_path),
    }
    workers = [
        stack.enter_context(
            Worker(folder=tmp_path, home=tmp_path, settings=settings, command=command)
        )
        for command in commands
    ]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(tmp_path, settings),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    logs = "\n".join(worker.log for worker in workers)
    assert done.returncode == 0, done.stderr + logs
    assert json.loads(done.stdout.splitlines()[-1]) == RESULTS
