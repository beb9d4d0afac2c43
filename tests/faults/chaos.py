"""Producers, web processes and workers on one file, and somebody who breaks them at random."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import OperationalError

from tests.live.programs import Program
from tests.live.servers import Server

from .scene import Scene, Script

#: Threads that run jobs, in each process that does.
THREADS = 4
#: Seconds between two faults, and for which somebody is frozen: the least and the most.
PAUSE = (0.1, 0.8)
FREEZE = (0.2, 2.0)
#: What the tasks and the producers take, in seconds.
TASK = 0.01
BREATH = 0.005


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@dataclass
class Chaos:
    """One run, as its seed makes it."""

    scene: Scene
    chance: random.Random
    did: Counter[str] = field(default_factory=Counter)
    #: The most runs that the faults so far can have made of jobs that ran already.
    duplicates: int = 0

    def __post_init__(self) -> None:
        self.workers = [self._worker() for _ in range(2)]
        self.supervisor = self.scene.supervisor()
        self.producers = [self._producer() for _ in range(2)]
        self.web = self.scene.web(threads=THREADS)
        self._over = threading.Event()
        self._frozen: dict[int, float] = {}
        self._client = threading.Thread(target=self._request, args=(self.web,))
        self._client.start()

    def run(self, seconds: float) -> None:
        """Break something again and again."""
        faults: list[Callable[[], None]] = [
            self.kill_worker, self.kill_worker, self.kill_producer, self.kill_web,
            self.kill_supervised, self.kill_supervisor, self.freeze, self.freeze, self.stop_worker,
            self.recycle, self.checkpoint, self.lock,
        ]  # fmt: skip
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                fault = self.chance.choice(faults)
                fault()
                self.did[fault.__name__] += 1
                self._pause(self.chance.uniform(*PAUSE))
        finally:
            self._end()

    # What is done to them

    def kill_worker(self) -> None:
        number = self.chance.randrange(len(self.workers))
        self._kill(self.workers[number])
        self.workers[number] = self._worker()

    def kill_producer(self) -> None:
        number = self.chance.randrange(len(self.producers))
        self.producers[number].kill()
        self.producers[number] = self._producer()

    def kill_web(self) -> None:
        """One of the processes that serve; its parent starts another."""
        self._kill_child(self.web)

    def kill_supervised(self) -> None:
        """One of the processes of `flask later worker`; it starts another."""
        self._kill_child(self.supervisor)

    def kill_supervisor(self) -> None:
        """The parent alone; its children notice, and leave in good order."""
        children = children_of(self.supervisor.pid)
        self.supervisor.signal(signal.SIGKILL)
        self.supervisor.wait()
        self.duplicates += THREADS * len(children)
        self.supervisor = self.scene.supervisor()

    def stop_worker(self) -> None:
        """In good order; what it gives back may have begun."""
        number = self.chance.randrange(len(self.workers))
        worker = self.workers[number]
        self._thaw(worker.pid)
        began = worker.pid in self.scene.events.pids("working")
        assert worker.stop() == 0 or not began, worker.log
        self.duplicates += THREADS
        self.workers[number] = self._worker()

    def recycle(self) -> None:
        """All processes that serve are replaced."""
        self.web.signal(signal.SIGHUP)
        self.duplicates += 2 * THREADS

    def freeze(self) -> None:
        """For much shorter than it takes to be given up."""
        programs: list[Program] = [*self.workers, *self.producers]
        pids = [each.pid for each in programs if each.runs]
        pids += children_of(self.web.pid) + children_of(self.supervisor.pid)
        pid = self.chance.choice(pids)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._frozen[pid] = time.monotonic() + self.chance.uniform(*FREEZE)

    def checkpoint(self) -> None:
        """By a stranger, in each of the ways there are."""
        mode = self.chance.choice(["PASSIVE", "RESTART", "TRUNCATE"])
        with self.scene.database(patience=0.2) as db, suppress(OperationalError):
            db.execute(f"PRAGMA wal_checkpoint({mode})")

    def lock(self) -> None:
        """A stranger writes, and takes its time."""
        with self.scene.database(patience=0.2) as db, suppress(OperationalError):
            db.execute("BEGIN IMMEDIATE")
            time.sleep(self.chance.uniform(*FREEZE) / 2)

    # How it goes on

    def _worker(self) -> Script:
        return self.scene.start("worker", threads=THREADS)

    def _producer(self) -> Script:
        return self.scene.producer(1_000_000, TASK, pause=BREATH)

    def _kill_child(self, parent: Program) -> None:
        children = children_of(parent.pid)
        if children:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(children), signal.SIGKILL)
            self.duplicates += THREADS

    def _kill(self, worker: Script) -> None:
        worker.kill()
        self.duplicates += THREADS

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for pid in [pid for pid, end in self._frozen.items() if end <= now]:
                self._thaw(pid)
            time.sleep(0.02)

    def _thaw(self, pid: int) -> None:
        self._frozen.pop(pid, None)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _request(self, web: Server) -> None:
        while not self._over.is_set():
            # Whoever asked while somebody broke the process has no answer, and no promise.
            with suppress(OSError, ValueError), web.client(timeout=5.0) as client:
                client.post(f"/enqueue/{TASK}")
            self._over.wait(BREATH)

    def _end(self) -> None:
        self._over.set()
        for pid in [*self._frozen]:
            self._thaw(pid)
        self._client.join()
        for producer in self.producers:
            producer.kill()
