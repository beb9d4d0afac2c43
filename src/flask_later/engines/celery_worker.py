"""What a worker that Celery's own command has started does for us, besides running the task.

With the pool of processes each child is a worker of its own: it begins once it is forked, and
nothing of ours runs in the parent. With threads, the one process is the worker.
"""

# Celery has no types.
# pyright: basic

from __future__ import annotations

import os
import threading
from typing import Any

from celery import signals
from celery.concurrency.prefork import TaskPool as PreforkPool

from flask_later.engines.celery import CeleryEngine
from flask_later.errors import StoreError
from flask_later.logs import Log
from flask_later.runtime.lifecycle import Lifecycle
from flask_later.runtime.threads import start_thread
from flask_later.runtime.worker_options import WorkerOptions

_logger = Log(__name__)

#: Seconds between two tries to begin while the store does not answer.
_PAUSE = 1.0
#: Seconds for which a worker waits for that before it takes messages.
_PATIENCE = 3.0


class CeleryProcess:
    """Hears what Celery says of a worker, in its parent and in its children."""

    def __init__(self, engine: CeleryEngine, lifecycle: Lifecycle, shutdown_timeout: float) -> None:
        self._engine = engine
        self._lifecycle = lifecycle
        self._shutdown_timeout = shutdown_timeout
        self._options = WorkerOptions(1)
        self._forks = False
        self._stopping = threading.Event()
        self._leaving = threading.Lock()
        #: A pipe whose end tells the children that the parent stops, or is gone.
        self._alive: tuple[int, int] | None = None

    def listen(self) -> None:
        for signal, hear in (
            (signals.celeryd_after_setup, self._on_setup),
            (signals.worker_ready, self._on_ready),
            (signals.worker_process_init, self._on_child),
            (signals.worker_process_shutdown, self._on_child_end),
            (signals.worker_shutting_down, self._on_stop),
            (signals.worker_shutdown, self._on_end),
        ):
            # Celery would forget a method otherwise.
            signal.connect(hear, weak=False)

    # In the process that was started

    def _on_setup(self, sender: str, instance: Any, **facts: Any) -> None:
        self._forks = issubclass(instance.pool_cls, PreforkPool)
        taken = instance.app.amqp.queues.consume_from
        queues = self._engine.taken_from(taken)
        self._engine.tell_idler(taken)
        self._options = WorkerOptions(1 if self._forks else instance.concurrency, queues)
        self._alive = os.pipe()

    def _on_ready(self, **facts: Any) -> None:
        if not self._forks:
            self._begin()

    def _on_stop(self, **facts: Any) -> None:
        """A handler of a signal: no more than a word, to the children or to a thread."""
        if self._alive is not None:
            os.close(self._alive[1])
            self._alive = None
        if not self._forks:
            start_thread("later-stop", self._stop)

    def _on_end(self, **facts: Any) -> None:
        if not self._forks:
            self._stop()

    # In a child

    def _on_child(self, **facts: Any) -> None:
        # Celery's pool without processes says it too, of the one that there is.
        if self._forks and self._alive is not None:
            heard, says = self._alive
            os.close(says)
            start_thread("later-parent", lambda: self._wait_for_parent(heard))
            self._begin()

    def _wait_for_parent(self, heard: int) -> None:
        while os.read(heard, 1):
            pass
        self._stop()

    def _on_child_end(self, **facts: Any) -> None:
        self._stop()

    # In the process that works

    def _begin(self) -> None:
        """Register, beat and sweep from now on, so that jobs without a hint are found as well."""
        if self._options.queues != ():
            # Celery kills a child that takes four seconds here, and a database may take longer.
            start_thread("later-begin", self._try_to_begin).join(_PATIENCE)

    def _try_to_begin(self) -> None:
        told = ""
        while not self._stopping.is_set():
            try:
                self._lifecycle.host(self._options)
            except StoreError as error:
                if told != str(error):
                    told = str(error)
                    _logger.warning("this worker cannot begin yet, and tries again. %s", error)
                self._stopping.wait(_PAUSE)
            else:
                return

    def _stop(self) -> None:
        self._stopping.set()
        # Who comes second waits as well: after that the process ends, whatever is on its way.
        with self._leaving:
            self._lifecycle.stop(self._shutdown_timeout)
