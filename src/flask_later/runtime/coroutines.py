"""How a thread runs ``async def`` tasks: an event loop of its own, kept from job to job."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from flask_later.core.job import StopReason
from flask_later.tasks.current import Attempt


class Loops:
    """An event loop for each thread, made at its first coroutine.

    Kept between jobs, so that clients which are bound to a loop can be kept as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runners: dict[threading.Thread, asyncio.Runner] = {}
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, Any], attempt: Attempt) -> Any:
        """Run *coroutine* to its end.

        A request to cancel, or the end of the timeout, cancels it at its next ``await``. A
        stopping process does not: it may finish until the process ends.

        :raises JobStopped: if it was cancelled so.
        """
        runner = self._runners.get(threading.current_thread()) or self._make_runner()
        try:
            # The context holds the app context and the current job.
            result, error = runner.run(_cancellable(coroutine, attempt), context=copy_context())
        except asyncio.CancelledError:
            attempt.checkpoint()
            raise
        except (SystemExit, KeyboardInterrupt):
            # Raised by a task of the task's: the loop was left in the middle of a step.
            self._drop(runner)
            raise
        finally:
            if self._closed:
                # Too late for close(), which left it to us.
                self._close(lambda thread: thread is threading.current_thread())
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Close all loops; threads that are stuck in a job close theirs at its end."""
        self._closed = True
        self._close(lambda thread: True)

    def _make_runner(self) -> asyncio.Runner:
        # A thread that was replaced does not say when it ends.
        self._close(lambda thread: not thread.is_alive())
        # With a factory of its own it leaves the thread's current loop alone, also at its end.
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        with self._lock:
            self._runners[threading.current_thread()] = runner
            self._closed = False
        return runner

    def _drop(self, runner: asyncio.Runner) -> None:
        with self._lock:
            del self._runners[threading.current_thread()]
        # What it still has to do is cancelled, and raises what it likes once more.
        with contextlib.suppress(BaseException):
            _close_runner(runner)

    def _close(self, condition: Callable[[threading.Thread], bool]) -> None:
        with self._lock:
            free = [
                (thread, runner)
                for thread, runner in self._runners.items()
                if condition(thread) and not runner.get_loop().is_running()
            ]
            for thread, _ in free:
                del self._runners[thread]
        for _, runner in free:
            _close_runner(runner)


def _close_runner(runner: asyncio.Runner) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        runner.close()
    else:
        # We are inside of a loop of somebody's, where no other can run for its last tasks.
        runner.get_loop().close()


async def _cancellable(
    coroutine: Coroutine[Any, Any, Any], attempt: Attempt
) -> tuple[Any, BaseException | None]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a runner runs a task"

    def stop(reason: StopReason) -> None:
        # A loop that is closed has nothing left to cancel.
        if reason is not StopReason.SHUTDOWN and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    attempt.on_stop(stop)
    try:
        return await coroutine, None
    except (SystemExit, KeyboardInterrupt) as error:
        # They would break out of the loop in the middle of a step, and meet the next job.
        return None, error
