"""Celery's worker on threads of a process of ours.

Celery's own pool of threads has two habits that do not fit: the interpreter waits for them at its
end, however long one hangs, and nothing wakes the worker when one of them has taken a message, so
that the next one may come a second late.
"""

# Celery has no types.
# pyright: basic

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import Any

from celery import Celery
from celery.concurrency.base import BasePool, apply_target
from celery.exceptions import WorkerShutdown
from celery.worker import WorkController
from kombu.asynchronous import set_event_loop

from flask_later.engines.naming import worker_name
from flask_later.engines.restarts import Restarts
from flask_later.logs import Log
from flask_later.runtime.threads import ThreadGroup, start_thread

_logger = Log(__name__)

#: Held while a worker makes its event loop, of which the process knows one.
_loops = threading.Lock()


class TaskPool(BasePool):  # type: ignore[misc]  # Celery has no types
    """Daemon threads; one that hangs can be replaced."""

    app: Any
    limit: int
    body_can_be_buffer = True
    #: A stop waits for the threads, and a handler of a signal must not.
    signal_safe = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._inbox: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._ear: socket.socket | None = None
        self._bell: socket.socket | None = None
        self._ends = False

    def on_start(self) -> None:
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._group = ThreadGroup("later-worker", self.limit, self._work)
        self._group.start()

    def register_with_event_loop(self, loop: Any) -> None:
        """Called for each connection to the broker: the loop forgets its readers with the last."""
        loop.add_reader(self._ear, self._hear)
        # Nobody could ring before.
        self._ring()

    def on_apply(
        self,
        target: Callable[..., object],
        args: Any = None,
        kwargs: Any = None,
        callback: Callable[..., object] | None = None,
        accept_callback: Callable[..., object] | None = None,
        **_: Any,
    ) -> None:
        def accept(*facts: Any) -> None:
            if accept_callback is not None:
                accept_callback(*facts)
            # The message is acknowledged by the worker's own thread, on its next round.
            self._ring()

        self._inbox.put(partial(apply_target, target, args or (), kwargs, callback, accept))

    def end_worker(self) -> None:
        """Make the worker take no more, and end once what runs has. From any thread."""
        self._ends = True
        self._ring()

    def replace(self, thread: Thread) -> None:
        """Start another thread for *thread*, which is stuck, if it is one of the pool's."""
        self._group.replace(thread)

    def on_stop(self) -> None:
        """Let the threads end that have nothing in hand; those that are stuck end when they do."""
        threads = self._group.threads
        for _ in threads:
            self._inbox.put(None)
        for thread in threads:
            thread.join()
        for end in (self._ear, self._bell):
            if end is not None:
                end.close()

    def _work(self) -> None:
        # Each thread has one, by which the name of a task is looked up.
        self.app.set_current()
        while current_thread() in self._group:
            run = self._inbox.get()
            if run is None:
                return
            try:
                run()
            except BaseException:
                _logger.exception("a message of Celery could not be handled; its thread goes on")

    def _ring(self) -> None:
        # It is full: then it rings already.
        with suppress(OSError):
            if self._bell is not None:
                self._bell.send(b"\0")

    def _hear(self) -> None:
        with suppress(OSError):
            if self._ear is not None:
                self._ear.recv(4096)
        if self._ends:
            raise WorkerShutdown(0)

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),
            "max-concurrency": self.limit,
            "processes": [os.getpid()],
            "threads": len(self._group.threads),
        }


class CeleryThreads:
    """Celery's worker in this process, until it is stopped."""

    def __init__(
        self, celery: Celery, restarts: Restarts, threads: int, queues: Sequence[str], name: str
    ) -> None:
        self._celery = celery
        self._restarts = restarts
        self._threads = threads
        self._queues = queues
        self._name = name
        self._controller: Any = None

    def start(self) -> None:
        self._thread = start_thread(
            "later-celery", lambda: self._restarts.work(self._serve, self._goes_on)
        )

    def stop(self, timeout: float) -> None:
        self._restarts.stop()
        if self._controller is not None:
            self._controller.pool.end_worker()
        self._thread.join(timeout)

    def replace(self, thread: Thread) -> None:
        if self._controller is not None:
            self._controller.pool.replace(thread)

    def _goes_on(self) -> bool:
        return not self._restarts.is_stopping

    def _serve(self) -> None:
        self._controller = self._make()
        if self._goes_on():
            # It tries again by itself while the broker is away.
            self._controller.start()

    def _make(self) -> WorkController:
        # After a lost connection Celery would ask for fewer messages, and for more with each that
        # is done: on the pool's threads, which take the answer from the thread that reads, or it
        # from them. Then both wait for ever. The app's own Celery comes without this.
        self._celery.conf.worker_enable_prefetch_count_reduction = False
        with _loops:
            # It takes the loop that is there, which would be that of another worker.
            set_event_loop(None)
            return WorkController(
                app=self._celery,
                hostname=worker_name(self._name),
                pool=TaskPool,
                concurrency=self._threads,
                queues=self._queues,
                prefetch_multiplier=1,
                task_events=False,
                use_eventloop=True,
                without_gossip=True,
                without_mingle=True,
            )
