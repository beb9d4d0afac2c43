"""Name -> measurement. Times are microseconds, memory is megabytes."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

from bench.durable.cpu import resident
from bench.durable.rig import make_folder
from bench.figures import Figures

from .clients import Answer, Ask, Client, Direct, client

#: Requests of a kind in a row, before it is the next one's turn.
_BLOCK = 25
_IN_FLIGHT = 1_000


def requests(name: str, scale: float) -> Figures:
    """All kinds of requests take turns, block by block; every request is timed."""
    folder = make_folder()
    try:
        with client(name, folder) as sender:
            return _timed(sender, max(8, int(20 * scale)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _timed(sender: Client, blocks: int) -> Figures:
    asks = _kinds(sender)
    taken: dict[str, list[float]] = {kind: [] for kind in asks}
    for block in range(blocks + 2):
        for kind, (ask, status) in asks.items():
            times = _block(sender, ask, status)
            if block >= 2:  # the first ones fill caches
                taken[kind].append(times)
    return {kind: median(times) for kind, times in taken.items()}


def _kinds(sender: Client) -> Mapping[str, tuple[Ask, int]]:
    """Return each kind of request, and the status that it is to get."""
    operation = _send(sender, Ask("POST", "/async"))
    task = _send(sender, Ask("POST", "/thread"))
    where, known = operation.headers["Location"], operation.headers["ETag"]
    return {
        "empty": (Ask("GET", "/empty"), 200),
        "dict": (Ask("POST", "/dict"), 200),
        "enqueue": (Ask("POST", "/enqueue"), 200),
        "async": (Ask("POST", "/async"), 202),
        "thread": (Ask("POST", "/thread"), 202),
        "poll_unchanged": (Ask("GET", where, {"If-None-Match": known}), 304),
        "poll": (Ask("GET", where), 200),
        "thread_poll": (Ask("GET", task.headers["Location"]), 200),
    }


def _block(sender: Client, ask: Ask, status: int) -> float:
    """Return the median of a block."""
    clock = time.perf_counter
    prepared = sender.prepare(ask)
    taken: list[float] = []
    for _ in range(_BLOCK):
        start = clock()
        answer = sender.send(prepared)
        taken.append((clock() - start) * 1e6)
        if answer.status != status:
            raise AssertionError(f"{ask}: {answer.status}")
    return median(taken)


def _send(sender: Client, ask: Ask) -> Answer:
    return sender.send(sender.prepare(ask))


def in_flight(path: str, figure: str, _name: str, _scale: float) -> Figures:
    """How much the web process grows by so much work that is begun and not finished.

    The process itself works on it, as far as its threads go.
    """
    folder = make_folder()
    work = threading.Event()
    sender = Direct(folder, work, embedded=True)
    try:
        return {figure: _growth(sender, Ask("POST", path))}
    finally:
        work.set()
        sender.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _growth(sender: Client, ask: Ask) -> float:
    for _ in range(20):
        _send(sender, ask)
    before = _resident()
    for _ in range(_IN_FLIGHT):
        _send(sender, ask)
    return _resident() - before


def _resident() -> float:
    gc.collect()
    return resident()


MEASURES: dict[str, Callable[[str, float], Figures]] = {
    "requests": requests,
    "in_flight": partial(in_flight, "/async", "in_flight"),
    "thread_in_flight": partial(in_flight, "/thread", "thread_in_flight"),
}
