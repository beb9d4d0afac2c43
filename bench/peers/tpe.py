"""The standard library alone: no app context, no JSON, nothing kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

from . import Job


def fill(submit: Callable[..., Any], threads: int) -> None:
    """Have a pool start all its threads: left to itself it starts one only when none is idle."""
    everybody = Barrier(threads + 1)
    for _ in range(threads):
        submit(everybody.wait)
    everybody.wait()


class Executor:
    def __init__(self, threads: int, job: Job) -> None:
        self._pool = ThreadPoolExecutor(threads)
        fill(self._pool.submit, threads)
        self.submit = partial(self._pool.submit, job)

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)
