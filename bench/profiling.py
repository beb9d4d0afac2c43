"""Where the time goes: cProfile, with what it adds itself taken out again.

A profiler adds about as much to a call as a small function takes, so raw figures point at
whatever calls most. Here the cost of watching a call is measured first and subtracted, half from
the function and half from its caller, and the rest is scaled to what the same work takes
unwatched. The garbage collector works in whatever allocates just then, so it has a line of its own
and is switched off while functions are watched.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from . import threads as idle_threads
from .figures import THREADS, Done, make_blocked, payload
from .peers import make
from .statements import watched
from .web import callback_request

Key = tuple[str, int, str]
_ROUNDS = 5_000
_TOP = 25


def profile(peer: str) -> str:
    """Return the hot functions of *peer*: of a call, and of a job."""
    blocked, release = make_blocked(peer, 1, lambda payload: None)
    text = [_of_work(f"{peer}: one call, thread blocked", lambda: blocked.submit(payload()))]
    release.set()
    blocked.stop()
    text.append(_of_jobs(peer))
    if peer == "ours":
        text.append(_of_work("a request that leaves a callback", callback_request(), 500))
    if peer in ("ours_power", "ours_process"):
        text += [*_of_statements(peer), *_of_idleness(peer)]
    return "\n".join(text)


def _of_statements(peer: str) -> list[str]:
    """Return what the SQL of a call takes, and that of a job on one thread."""
    done = Done()
    with watched() as statements:
        contender, release = make_blocked(peer, 1, done.job())
        done.expect(_ROUNDS)
        statements.clear()
        for _ in range(_ROUNDS):
            contender.submit(payload())
        call = statements.table(_ROUNDS)
        statements.clear()
        release.set()
        done.wait()
        job = statements.table(_ROUNDS)
        contender.stop()
    return [f"{peer}: the SQL of one call", call, f"{peer}: the SQL of one job", job]


def _of_idleness(peer: str) -> list[str]:
    """Return what each thread takes while nothing is to be done."""
    done = Done()
    contender = make(peer, THREADS, done.job())
    done.expect(1)
    contender.submit(payload())
    done.wait()
    time.sleep(1.0)
    table = idle_threads.table()
    contender.stop()
    return [f"{peer}: an idle process", table]


def _of_work(title: str, work: Callable[[], object], rounds: int = _ROUNDS) -> str:
    def repeat() -> None:
        for _ in range(rounds):
            work()

    collected = _Collected()
    with collected:
        repeat()
    with _NoCollector():
        plain = min(_timed(repeat) for _ in range(3))
        watcher = cProfile.Profile()
        watcher.runcall(repeat)
    return _table(title, pstats.Stats(watcher), plain, collected.seconds, rounds)


def _of_jobs(peer: str) -> str:
    collected = _Collected()
    with collected:
        _drain(peer, watch=False)
    with _NoCollector():
        _, plain = _drain(peer, watch=False)
        stats, _ = _drain(peer, watch=True)
    assert stats is not None
    title = f"{peer}: one job, on one thread"
    return _table(title, stats, plain, collected.seconds, _ROUNDS)


def _drain(peer: str, *, watch: bool) -> tuple[pstats.Stats | None, float]:
    """Let one thread work off a queue, watched from the moment it may."""
    release: threading.Event | None = None
    watchers: list[cProfile.Profile] = []

    def hook(_frame: Any, _event: str, _arg: Any) -> None:
        if release is not None and release.is_set():
            sys.setprofile(None)
            watcher = cProfile.Profile()
            watcher.enable()
            watchers.append(watcher)

    done = Done()
    done.expect(_ROUNDS)
    if watch:
        threading.setprofile(hook)
    contender, release = make_blocked(peer, 1, done.job())
    threading.setprofile(None)
    for _ in range(_ROUNDS):
        contender.submit(payload())

    def drain() -> None:
        release.set()
        done.wait()

    seconds = _timed(drain)
    contender.stop()
    stats = [pstats.Stats(watcher) for watcher in watchers]
    return max(stats, key=lambda each: each.total_calls, default=None), seconds


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class _Collected:
    """Adds up what the garbage collector takes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._start = time.perf_counter()
        else:
            self.seconds += time.perf_counter() - self._start

    def __enter__(self) -> None:
        gc.callbacks.append(self._note)

    def __exit__(self, *_error: object) -> None:
        gc.callbacks.remove(self._note)


class _NoCollector:
    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_error: object) -> None:
        gc.enable()


def _table(title: str, stats: pstats.Stats, seconds: float, collected: float, rounds: int) -> str:
    """Return the functions and the modules that take most, in microseconds each round."""
    own, calls, modules = _without_watching(stats)
    factor = seconds / sum(own.values()) / rounds * 1e6
    lines = [
        f"{title}: {seconds / rounds * 1e6:.1f} us",
        f"{collected / rounds * 1e6:8.2f}         garbage collector, on top of that",
        f"{'us':>8} {'calls':>6}  function",
    ]
    hot = sorted(own, key=lambda key: -own[key])[:_TOP]
    lines += [f"{own[key] * factor:8.2f} {calls[key] / rounds:6.1f}  {_say(key)}" for key in hot]
    lines += ["", f"{'us':>8}  module, with the builtins it calls"]
    hot_modules = sorted(modules, key=lambda name: -modules[name])[:_TOP]
    lines += [f"{modules[name] * factor:8.2f}  {name}" for name in hot_modules]
    return "\n".join([*lines, ""])


def _without_watching(
    stats: pstats.Stats,
) -> tuple[dict[Key, float], dict[Key, int], dict[str, float]]:
    """Return each function's own time and calls, and each module's time."""
    half = _cost_of_watching() / 2
    own: defaultdict[Key, float] = defaultdict(float)
    modules: defaultdict[str, float] = defaultdict(float)
    calls: dict[Key, int] = {}
    for key, (_, count, total, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        calls[key] = count
        own[key] += total - count * half
        if not _is_builtin(key):
            modules[_module(key)] += total - count * half
        for caller, (_, from_caller, total_there, _) in callers.items():
            own[caller] -= from_caller * half
            modules[_module(caller)] -= from_caller * half
            if _is_builtin(key):
                modules[_module(caller)] += total_there - from_caller * half
    positive = {key: max(0.0, value) for key, value in own.items()}
    return positive, calls, modules


def _cost_of_watching() -> float:
    """Return what cProfile adds to the call of a function."""
    rounds = 50_000

    def nothing() -> None:
        pass

    def loop() -> None:
        for _ in range(rounds):
            nothing()

    plain = min(_timed(loop) for _ in range(3))
    watcher = cProfile.Profile()
    watcher.enable()
    watched = min(_timed(loop) for _ in range(3))
    watcher.disable()
    return (watched - plain) / rounds


def _is_builtin(key: Key) -> bool:
    return key[0] == "~"


def _module(key: Key) -> str:
    return "builtins" if _is_builtin(key) else "/".join(PurePath(key[0]).parts[-3:])


def _say(key: Key) -> str:
    return key[2] if _is_builtin(key) else f"{_module(key)}:{key[1]} {key[2]}"
