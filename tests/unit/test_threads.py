"""A group of threads comes back to its size once what was stuck has ended."""

from __future__ import annotations

import threading

from tests.shop import until

from flask_later.runtime.threads import ThreadGroup


def test_a_stuck_thread_that_ends_is_made_up_for() -> None:
    """As many as the group has may be stuck at a time; capacity returns when they end."""
    stuck, closing = threading.Event(), threading.Event()
    group: ThreadGroup

    def work() -> None:
        mine = threading.current_thread()
        while mine in group and not closing.is_set():
            (stuck if not stuck.is_set() else closing).wait(10)

    group = ThreadGroup("test", 2, work)
    group.start()
    first = group.threads
    assert [group.replace(thread) for thread in first] == [True, True]
    second = group.threads
    assert [group.replace(thread) for thread in second] == [False, False]
    assert group.threads == []
    stuck.set()
    until(lambda: len(group.threads) == 2)
    closing.set()
    until(lambda: not any(thread.is_alive() for thread in group.threads))
