"""The event loops of the threads that run ``async def`` tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from flask_later.core.job import StopReason
from flask_later.runtime.coroutines import Loops
from flask_later.tasks.current import Attempt, JobStopped


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.fixture
def loops() -> Iterator[Loops]:
    loops = Loops()
    yield loops
    loops.close()


def on_a_thread(function: Callable[[], object]) -> None:
    """Call *function* on a thread of its own, which ends."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_thread_keeps_its_loop(loops: Loops) -> None:
    """Clients that are bound to it can be kept from job to job."""
    assert loops.run(running_loop(), Attempt()) is loops.run(running_loop(), Attempt())


def test_closing_closes_the_loops_of_all_threads(loops: Loops) -> None:
    """A pool that has stopped leaks none."""
    seen = [loops.run(running_loop(), Attempt())]
    on_a_thread(lambda: seen.append(loops.run(running_loop(), Attempt())))
    loops.close()
    assert [loop.is_closed() for loop in seen] == [True, True]


def test_the_loop_of_a_thread_that_ended_is_closed(loops: Loops) -> None:
    """At the latest when another thread gets its first; a long-lived process leaks none."""
    seen: list[asyncio.AbstractEventLoop] = []
    on_a_thread(lambda: seen.append(loops.run(running_loop(), Attempt())))
    loops.run(running_loop(), Attempt())
    assert seen[0].is_closed()


def test_closing_leaves_a_running_loop_alone(loops: Loops) -> None:
    """Its thread is stuck in a job, and nobody waits for it: it closes its loop when it ends."""

    async def close_all() -> tuple[bool, asyncio.AbstractEventLoop]:
        loops.close()
        loop = asyncio.get_running_loop()
        return loop.is_closed(), loop

    closed, loop = loops.run(close_all(), Attempt())
    assert (closed, loop.is_closed()) == (False, True)


def test_loops_can_be_closed_inside_of_another() -> None:
    """An app may be stopped by a coroutine of the server."""
    loops = Loops()
    loop = loops.run(running_loop(), Attempt())

    async def close_all() -> None:
        loops.close()

    asyncio.run(close_all())
    assert loop.is_closed()


def test_the_current_loop_of_a_thread_stays(loops: Loops) -> None:
    """Whoever runs jobs on a thread that has a loop gets it back."""
    current = asyncio.new_event_loop()
    asyncio.set_event_loop(current)
    try:
        loops.run(running_loop(), Attempt())
        loops.close()
        assert asyncio.get_event_loop() is current
    finally:
        asyncio.set_event_loop(None)
        current.close()


def test_a_timeout_cancels_at_the_next_await(loops: Loops) -> None:
    """What the coroutine gets is asyncio's own cancellation."""

    async def wait_for_ever() -> None:
        attempt.ask_to_stop(StopReason.TIMEOUT)
        await asyncio.Event().wait()

    attempt = Attempt()
    with pytest.raises(JobStopped, match="timeout"):
        loops.run(wait_for_ever(), attempt)


def test_a_stopping_process_cancels_nothing(loops: Loops) -> None:
    """The coroutine may finish until the process ends."""

    async def finish() -> str:
        attempt.ask_to_stop(StopReason.SHUTDOWN)
        await asyncio.sleep(0)
        return "done"

    attempt = Attempt()
    assert loops.run(finish(), attempt) == "done"
