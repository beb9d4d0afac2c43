"""The measurements of one durable queue. Each runs in a process of its own: the producer's.

Times are microseconds unless the name says otherwise, memory is megabytes.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from statistics import fmean, median

from bench.figures import PATIENCE, Figures, spread

from . import syncs
from .queue import payload
from .rig import Rig, rig

#: Seconds without a job before the first of them is timed.
IDLE = 12.0
_CROWD = 16
#: Seconds after which there are enough samples of a queue that takes long.
_LONGEST_PICKUPS = 10.0


def throughput(name: str, scale: float) -> Figures:
    """One thread submits without a pause, for a time; then the rest is waited for.

    End to end: from the first call until the last job began. Beside it what ran while the
    producer was at it, since some queues let their workers starve.
    """
    with rig(name) as it:
        it.start()
        start = it.look()
        submitted = _submit_for(it, max(0.5, 2.0 * scale))
        live = it.look()
        it.tally.wait(start.jobs + submitted, PATIENCE)
        end = it.look()
        last = it.tally.last
    figures = {
        "jobs_per_second": submitted / (last - start.at),
        "live_jobs_per_second": (live.jobs - start.jobs) / (live.at - start.at),
        "live_enqueues_per_second": submitted / (live.at - start.at),
    }
    if it.queue.embedded:
        cpu = end.producer_cpu - start.producer_cpu
        return {**figures, "cpu_per_job": cpu / submitted * 1e6}
    worker, producer = end.worker_cpu - start.worker_cpu, live.producer_cpu - start.producer_cpu
    return {
        **figures,
        "cpu_per_job": (worker + producer) / submitted * 1e6,
        "worker_cpu_per_job": worker / submitted * 1e6,
    }


def _submit_for(it: Rig, seconds: float) -> int:
    submit, clock = it.queue.submit, time.perf_counter
    end = clock() + seconds
    submitted = 0
    while clock() < end:
        submit(payload())
        submitted += 1
    return submitted


def enqueue(name: str, scale: float) -> Figures:
    """Calls in a loop by one thread, each timed, while no worker runs."""
    with rig(name) as it:
        it.serve()
        it.submit(100)
        taken = [_timed_submit(it) for _ in range(int(4_000 * scale))]
    return {**spread("enqueue", taken), "enqueue_mean": fmean(taken)}


def _timed_submit(it: Rig) -> float:
    value = payload()
    start = time.perf_counter()
    it.queue.submit(value)
    return (time.perf_counter() - start) * 1e6


def crowd(name: str, scale: float) -> Figures:
    """16 threads of one process submit at once, while no worker runs."""
    each = int(800 * scale)
    together = threading.Barrier(_CROWD + 1)

    def submit_all() -> None:
        with it.queue.context():
            it.queue.submit(payload())
            together.wait()
            it.submit(each)

    with rig(name) as it:
        it.serve()
        threads = [threading.Thread(target=submit_all) for _ in range(_CROWD)]
        for thread in threads:
            thread.start()
        together.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - start
    return {"crowd_per_second": _CROWD * each / taken}


def pickup(name: str, scale: float) -> Figures:
    """From before the call to the first line of the job, where nothing else is going on.

    The pauses are random, so that no queue that polls can fall into step with them.
    """
    pauses = random.Random(20)
    with rig(name) as it:
        it.start()
        end = time.monotonic() + _LONGEST_PICKUPS
        samples: list[tuple[float, float]] = []
        while len(samples) < max(60, 200 * scale) and time.monotonic() < end:
            samples.append(_pickup(it, pauses.uniform(0.01, 0.03)))
    calls, taken = zip(*samples[10:], strict=True)
    return {**spread("pickup", taken), "idle_enqueue_p50": median(calls)}


def _pickup(it: Rig, pause: float) -> tuple[float, float]:
    """Return how long the call took, and how long until its job began."""
    time.sleep(pause)
    before = it.tally.count
    start = time.perf_counter()
    it.queue.submit(payload())
    called = time.perf_counter() - start
    # Almost all have begun by then, so that nobody looks while they are on their way.
    time.sleep(0.005)
    it.tally.wait(before + 1, PATIENCE, 0.001)
    return called * 1e6, (it.tally.last - start) * 1e6


def idle(name: str, _scale: float) -> Figures:
    """What an idle worker takes, and the first job after that.

    All queues idle at the same time. Each says when it is ready, and is told how many seconds
    after the others it submits its job.
    """
    with rig(name) as it:
        it.start()
        time.sleep(1.0)
        print("ready", flush=True)
        behind = float(sys.stdin.readline())
        start = it.look()
        time.sleep(IDLE)
        end = it.look()
        time.sleep(behind)
        _, first = _pickup(it, 0.0)
    # With an embedded worker this process does nothing else either.
    used = end.worker_cpu - start.worker_cpu
    if it.queue.embedded:
        used = end.producer_cpu - start.producer_cpu
    return {"first_job_ms": first / 1e3, "idle_cpu_percent": used / IDLE * 100}


def drain(name: str, jobs: int, counted: int) -> float:
    """Return the jobs per second while *jobs* wait and nobody submits, over *counted* of them."""
    with rig(name) as it:
        it.queue.fill(jobs)
        it.start_worker()
        it.tally.wait(counted // 20, PATIENCE)
        first, start = it.tally.count, time.perf_counter()
        it.tally.wait(counted, PATIENCE)
        return (it.tally.count - first) / (time.perf_counter() - start)


def syncs_per_job(name: str, scale: float) -> Figures:
    """Submit jobs while the worker is live, and wait for the last of them."""
    jobs = int(4_000 * scale)
    with rig(name) as it:
        it.start()
        done, before = it.tally.count, syncs.counted()
        it.submit(jobs)
        it.tally.wait(done + jobs, PATIENCE)
        return {"syncs_per_job": (syncs.counted() - before) / jobs}
