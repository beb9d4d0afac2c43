"""The event loops of the threads that run ``async def`` tasks."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flask_later.core.job import StopReason
from flask_later.runtime.coroutines import Loops
from flask_later.tasks.current import Attempt, JobStopped


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_a_thread_keeps_its_loop() -> None:
    """Clients that are bound to it can be kept from job to job."""
    loops = Loops()
    assert loops.run(running_loop(), Attempt()) is loops.run(running_loop(), Attempt())


def test_a_loop_is_closed_with_its_thread() -> None:
    """A process that starts and stops threads leaks none."""
    loops = Loops()
    seen: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: seen.append(loops.run(running_loop(), Attempt())))
    thread.start()
    thread.join()
    assert seen[0].is_closed()


def test_a_loop_is_closed_with_its_worker() -> None:
    """The thread is somebody else's, who lives on."""
    loops = Loops()
    loop = loops.run(running_loop(), Attempt())
    del loops
    assert loop.is_closed()


def test_a_timeout_cancels_at_the_next_await() -> None:
    """What the coroutine gets is asyncio's own cancellation."""

    async def wait_for_ever() -> None:
        attempt.ask_to_stop(StopReason.TIMEOUT)
        await asyncio.Event().wait()

    attempt = Attempt()
    with pytest.raises(JobStopped, match="timeout"):
        Loops().run(wait_for_ever(), attempt)


def test_a_stopping_process_cancels_nothing() -> None:
    """The coroutine may finish until the process ends."""

    async def finish() -> str:
        attempt.ask_to_stop(StopReason.SHUTDOWN)
        await asyncio.sleep(0)
        return "done"

    attempt = Attempt()
    assert Loops().run(finish(), attempt) == "done"
