"""The measurements of one peer. Each runs in a process of its own and returns plain numbers.

Times are microseconds, memory is megabytes.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from statistics import fmean, median, quantiles

from .peers import Job, Payload, Peer, make

THREADS = 8
#: Seconds to wait for jobs before a measurement counts as failed.
PATIENCE = 120.0

Figures = dict[str, float]


def payload() -> Payload:
    """A fresh one for each job, as each view would make it."""
    return {"to": "a@b.c", "n": 1}


class Done:
    """A no-op job that counts: says when so many have been called."""

    def __init__(self) -> None:
        self._calls = count(1)
        self._target = 0
        self._expected = 0
        self._reached = threading.Event()

    def job(self) -> Job:
        # A plain function: what is registered as a task has to have a name.
        calls, done = self._calls, self

        def noop(payload: Payload) -> None:
            if next(calls) == done._target:
                done._reached.set()

        return noop

    def expect(self, jobs: int) -> None:
        self._expected += jobs
        self._reached.clear()
        self._target = self._expected

    def wait(self) -> None:
        if not self._reached.wait(PATIENCE):
            raise TimeoutError(f"{self._target} jobs were not done within {PATIENCE:g} s")


def enqueue(name: str, scale: float) -> Figures:
    """Bursts of 5,000 calls, each call timed; the next burst begins when all jobs are done.

    All threads sleep at first, then work on the burst while it goes on: what a call costs here
    includes fighting with them for locks and for the interpreter, mostly in the mean.
    """
    done = Done()
    peer = make(name, THREADS, done.job())
    _burst(peer.submit, done, 200)  # warms up
    taken: list[float] = []
    for _ in range(max(2, int(6 * scale))):
        time.sleep(0.01)
        taken += _burst(peer.submit, done, 5_000)
    peer.stop()
    return {**spread("enqueue", taken), "enqueue_mean": fmean(taken)}


def _burst(submit: Callable[[Payload], object], done: Done, size: int) -> list[float]:
    clock = time.perf_counter
    taken: list[float] = []
    done.expect(size)
    for _ in range(size):
        value = payload()
        start = clock()
        submit(value)
        taken.append((clock() - start) * 1e6)
    done.wait()
    return taken


def throughput(name: str, scale: float) -> Figures:
    """So many no-op jobs enqueued as fast as one thread can, until the last was called."""
    done = Done()
    peer = make(name, THREADS, done.job())
    _burst(peer.submit, done, 200)
    jobs = int(30_000 * scale)
    done.expect(jobs)
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(jobs):
        peer.submit(payload())
    done.wait()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peer.stop()
    return {"jobs_per_second": jobs / seconds, "cpu_per_job": cpu / jobs * 1e6}


def pickup(name: str, scale: float) -> Figures:
    """From the call to the first line of the job, where nothing else is going on.

    The pauses are random, so that no peer that polls can fall into step with them.
    """
    begun: list[float] = []
    reached = threading.Event()

    def job(payload: Payload) -> None:
        begun.append(time.perf_counter())
        reached.set()

    peer = make(name, THREADS, job)
    pauses = random.Random(20)
    called: list[float] = []
    returned: list[float] = []
    switches = _switches()
    for _ in range(max(50, int(300 * scale))):
        time.sleep(pauses.uniform(0.002, 0.006))
        reached.clear()
        called.append(time.perf_counter())
        peer.submit(payload())
        returned.append(time.perf_counter())
        if not reached.wait(PATIENCE):
            raise TimeoutError("a job was not picked up")
    switches = _switches() - switches
    peer.stop()
    taken = [(end - start) * 1e6 for start, end in zip(called, begun, strict=True)][10:]
    calls = [(end - start) * 1e6 for start, end in zip(called, returned, strict=True)][10:]
    return {
        **spread("pickup", taken),
        "idle_enqueue_p50": median(calls),
        "idle_switches": switches / len(called),
    }


def memory(name: str, scale: float) -> Figures:
    """What the process grows by while jobs queue up behind one blocked job for each thread."""
    peer, _ = make_blocked(name, THREADS, lambda payload: None)
    jobs = int(100_000 * scale)
    peer.submit(payload())
    gc.collect()
    before = _rss()
    for _ in range(jobs):
        peer.submit(payload())
    gc.collect()
    return {"memory": (_rss() - before) / jobs * 100_000 / 1e6}


def make_blocked(name: str, threads: int, then: Job) -> tuple[Peer, threading.Event]:
    """Start a peer whose jobs call *then*; the first of each thread waits for the event."""
    begun = threading.Semaphore(0)
    release = threading.Event()

    def job(payload: Payload) -> None:
        if release.is_set():
            then(payload)
            return
        begun.release()
        release.wait()

    peer = make(name, threads, job)
    for _ in range(threads):
        peer.submit(payload())
    for _ in range(threads):
        if not begun.acquire(timeout=PATIENCE):
            raise TimeoutError("the threads did not all begin")
    return peer, release


def _rss() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _switches() -> int:
    """How often a thread of this process went to sleep."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def spread(name: str, values: Sequence[float]) -> Figures:
    return {f"{name}_p50": median(values), f"{name}_p99": quantiles(values, n=100)[98]}
