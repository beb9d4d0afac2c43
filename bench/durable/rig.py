"""One queue in a folder of its own: its producer is this process, its worker another."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.figures import PATIENCE, THREADS

from . import cpu
from .place import Place
from .queue import open_queue, payload
from .tally import Tally

#: On the disk of the checkout, not in a /tmp that is perhaps in memory.
WORKPLACE = Path(__file__).parents[2] / ".cache" / "bench"


def make_folder(prefix: str = "queue-") -> Path:
    """Return a new folder for a measurement, or for a run."""
    WORKPLACE.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=WORKPLACE))


class Look(NamedTuple):
    """Where things stand at one moment."""

    at: float
    jobs: int
    worker_cpu: float
    producer_cpu: float


class Rig:
    """What a measurement works with; *queue* is open, and its worker not started."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._worker: subprocess.Popen[bytes] | None = None
        self._family: list[int] = []
        self.tally = Tally(folder)
        self.queue = open_queue(name, Place(folder))

    def start(self) -> None:
        """Begin to serve, and start the worker; both have worked when this returns."""
        self.serve()
        self.start_worker()
        self.submit(20)
        self.tally.wait(20, PATIENCE)
        self._family = cpu.family(self._worker.pid) if self._worker else []

    def serve(self) -> None:
        self.queue.serve(THREADS)

    def start_worker(self) -> None:
        """Start the worker, if it is no part of this process."""
        if self.queue.embedded:
            return
        command = (sys.executable, "-m", "bench.durable.worker")
        with (self._folder / "worker.log").open("wb") as log:
            self._worker = subprocess.Popen(
                [*command, self._name, str(self._folder), str(THREADS)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def submit(self, jobs: int) -> None:
        for _ in range(jobs):
            self.queue.submit(payload())

    def look(self) -> Look:
        return Look(
            time.perf_counter(), self.tally.count, cpu.seconds(self._family), time.process_time()
        )

    def stop(self) -> None:
        """Kill the worker: what waits is not wanted any more."""
        if self._worker is not None:
            os.killpg(self._worker.pid, signal.SIGKILL)
            self._worker.wait()

    def explain(self) -> None:
        """Show what the worker has said."""
        log = self._folder / "worker.log"
        if log.exists():
            print(log.read_text()[-4000:], file=sys.stderr)


@contextmanager
def rig(name: str) -> Generator[Rig]:
    """Make a rig of the queue called *name*, in an app context if it needs one."""
    folder = make_folder()
    made = Rig(name, folder)
    try:
        with made.queue.context():
            yield made
    except BaseException:
        made.explain()
        raise
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
