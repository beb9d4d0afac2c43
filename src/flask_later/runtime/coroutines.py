"""How a thread runs ``async def`` tasks: an event loop of its own, kept from job to job."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from flask_later.core.job import StopReason
from flask_later.tasks.current import Attempt


class _Loop:
    """The loop of one thread, closed when nobody holds it any more."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.run = self._runner.run

    def __del__(self) -> None:
        # Another loop may be running where the last reference goes; ours is closed all the same.
        with contextlib.suppress(RuntimeError):
            self._runner.close()


class Loops(threading.local):
    """An event loop for each thread, made at its first coroutine.

    Kept between jobs, so that clients which are bound to a loop can be kept as well. It is closed
    with its thread, or with this: an engine that runs jobs on the threads of others does not
    learn of their end.
    """

    def __init__(self) -> None:
        self._loop: _Loop | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any], attempt: Attempt) -> Any:
        """Run *coroutine* to its end.

        A request to cancel, or the end of the timeout, cancels it at its next ``await``. A
        stopping process does not: it may finish until the process ends.

        :raises JobStopped: if it was cancelled so.
        """
        if self._loop is None:
            self._loop = _Loop()
        try:
            # The context holds the app context and the current job.
            return self._loop.run(_cancellable(coroutine, attempt), context=copy_context())
        except asyncio.CancelledError:
            attempt.checkpoint()
            raise


async def _cancellable(coroutine: Coroutine[Any, Any, Any], attempt: Attempt) -> Any:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(coroutine)

    def stop(reason: StopReason) -> None:
        if reason is not StopReason.SHUTDOWN:
            loop.call_soon_threadsafe(task.cancel)

    attempt.on_stop(stop)
    return await task
