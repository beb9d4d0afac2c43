"""Our own threads, woken by the store: no broker, nothing to install."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from flask_later.core.engine import Engine, Ran, Run, ServeOptions
from flask_later.core.job import Hint
from flask_later.core.store import Store
from flask_later.logs import Log
from flask_later.runtime.threads import ThreadGroup, call_until_ended

#: Seconds after which an idle thread lies down anew. The store wakes it before that.
_NAP = 60.0
#: Seconds between an error of ours, or of the store, and the next try.
_PAUSE = 1.0

_logger = Log(__name__)


class NativeEngine(Engine):
    """Threads in this process that ask the store for work."""

    requires_reach = "process"

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._group: ThreadGroup | None = None

    def bind(self, run: Run, store: Store) -> None:
        self._run = run
        self._store = store

    def deliver(self, hints: Sequence[Hint]) -> None:
        if hints:
            self._store.wake([hint.queue for hint in hints])

    def serve(self, options: ServeOptions) -> None:
        self._closing = threading.Event()
        self._queues = options.queues or ()
        self._group = ThreadGroup("later-worker", options.threads, self._work)
        self._group.start()

    def replace(self, thread: threading.Thread) -> None:
        if self._group is not None:
            self._group.replace(thread)
            # It may have ended its job meanwhile, and sleep.
            self._store.wake(())

    def close(self, timeout: float) -> None:
        self._closing.set()
        if self._group is not None:
            deadline = time.monotonic() + timeout
            call_until_ended(lambda: self._store.wake(()), self._group.join, deadline)

    def _work(self) -> None:
        while self._goes_on():
            try:
                if self._run(None, self._goes_on, _NAP) is Ran.REFUSED:
                    # The end is near, or what serves has not begun.
                    self._closing.wait(_PAUSE)
            except BaseException:
                _logger.exception("a worker thread met an error that is not a task's; it goes on")
                self._closing.wait(_PAUSE)
        # It may have been woken for a job that another has to take now.
        self._store.wake(self._queues)

    def _goes_on(self) -> bool:
        # A thread that was replaced while it was stuck takes no more.
        group = self._group
        return (
            group is not None and not self._closing.is_set() and threading.current_thread() in group
        )
