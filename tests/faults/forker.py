"""Forks with a live connection: ``forker.py HOW``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from app import create_app, effect, is_open, later, produce
from events import record

CHILDREN = 4

app = create_app()


def wait_for(children: list[int]) -> None:
    for child in children:
        _, status = os.waitpid(child, 0)
        record("child-ended", code=os.waitstatus_to_exitcode(status))


def enqueue() -> None:
    """In the parent, in each child, and in the parent again."""
    produce(effect)
    children = [os.fork() for _ in range(CHILDREN) if os.getpid() == parent]
    if 0 in children:
        produce(effect)
        sys.exit()
    produce(effect)
    wait_for(children)
    produce(effect)


def work() -> None:
    """The children work, each for itself, while their parent looks on."""
    produce(effect)
    children = [os.fork() for _ in range(CHILDREN) if os.getpid() == parent]
    if 0 in children:
        later.start(app)
        while not is_open("over"):
            time.sleep(0.01)
        sys.exit()
    while not is_open("over"):
        produce(effect, 0.01)
        time.sleep(0.01)
    wait_for(children)


def busy() -> None:
    """Again and again, while another thread writes."""
    over = threading.Event()

    def write() -> None:
        with app.app_context():
            while not over.is_set():
                produce(effect)

    produce(effect)
    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            # A lock that the fork left locked would never be opened.
            signal.alarm(30)
            produce(effect)
            os._exit(0)
        wait_for([child])
    over.set()
    writer.join()


parent = os.getpid()
with app.app_context():
    {"enqueue": enqueue, "work": work, "busy": busy}[sys.argv[1]]()
record("parent-ended")
