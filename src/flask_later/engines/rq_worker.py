"""What RQ's own command finds: the function that it calls for a hint, and a worker for Flask apps.

::

    rq worker --worker-class flask_later.engines.rq_worker.Worker

It loads the app once, looks after the jobs while nothing runs, and tells a running job of a stop.
The Flask app is found as by the ``flask`` command: ``FLASK_APP``, ``app.py`` or ``wsgi.py``.
"""

# RQ has types for some of what it takes.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import signal
from functools import cache
from typing import Any

from rq import Worker as RQWorker
from rq import get_current_job
from rq.serializers import JSONSerializer

from flask_later.core.job import Hint
from flask_later.engines.rq import RQEngine
from flask_later.engines.rq_registration import RegisteredWorker
from flask_later.engines.rq_threads import serving
from flask_later.errors import StoreError, UnsupportedError
from flask_later.logs import Log
from flask_later.runtime.app_finder import find_app
from flask_later.runtime.threads import start_thread
from flask_later.runtime.worker_options import WorkerOptions

_logger = Log(__name__)

_COMMAND = "rq worker"


def take(store: str, queue: str, job_id: str, fence: int) -> None:
    """Work off a hint: on a thread of ours, or in a process that RQ has forked for it."""
    hint = Hint(store, queue, job_id, fence)
    drains = serving.get()
    try:
        if drains is not None:
            drains.work_off(hint)
        else:
            _guest().work_off(hint)
    except StoreError as error:
        # No error of RQ's: the job is in the store, whose sweep sends another hint.
        _logger.warning("a hint at queue %r came to nothing. %s", queue, error)


class _Guest:
    """The app in processes that RQ has started."""

    def __init__(self) -> None:
        self.state, self._lifecycle = find_app(_COMMAND)
        if not isinstance(self.state.engine, RQEngine):
            raise UnsupportedError(
                _COMMAND,
                f"the engine of this app is {self.state.settings.engine!r}",
                "Set LATER_ENGINE = 'rq'.",
            )
        self.engine = self.state.engine
        #: The end of a pipe that ends when the worker stops, or is gone; and that end itself.
        self.alive: tuple[int, int] | None = None

    def work_off(self, hint: Hint) -> None:
        """Be a worker for as long as this takes: RQ leaves without any exit hook."""
        current = get_current_job()
        queues = self.engine.taken_from([current.origin] if current is not None else [])
        self._lifecycle.host(WorkerOptions(1, queues))
        try:
            if (heard := self._forget_parent()) is not None:
                start_thread("later-parent", lambda: self._stop_with_parent(heard))
            self.engine.drains.work_off(hint)
        finally:
            self.stop()

    def look_after(self, queues: list[str]) -> None:
        """Stand for a worker that waits: beat and sweep until it stops."""
        heard = self._forget_parent()
        assert heard is not None
        self._lifecycle.host(WorkerOptions(1, self.engine.taken_from(queues)))
        self._stop_with_parent(heard)

    def stop(self) -> None:
        self._lifecycle.stop(self.state.settings.shutdown_timeout)

    def _forget_parent(self) -> int | None:
        """Close what keeps the pipe open; return the end that tells of the parent's."""
        if self.alive is None:
            return None
        heard, says = self.alive
        self.alive = None
        os.close(says)
        return heard

    def _stop_with_parent(self, heard: int) -> None:
        while os.read(heard, 1):
            pass
        self.stop()


@cache
def _guest() -> _Guest:
    return _Guest()


class Worker(RegisteredWorker, RQWorker):
    """RQ's worker, with the app loaded before it forks, and with JSON alone."""

    def __init__(self, queues: Any, **options: Any) -> None:
        # RQ's command names pickle if nobody names one: whoever can write to Redis could run code.
        options["serializer"] = JSONSerializer
        names = [getattr(queue, "name", queue) for queue in queues]
        super().__init__(names, **options)
        self._keeper: int | None = None

    def bootstrap(self, *args: Any, **options: Any) -> None:
        _guest().alive = os.pipe()
        _guest().engine.tell_idler(self.queue_names())
        self._keep()
        super().bootstrap(*args, **options)

    def heartbeat(self, *args: Any, **options: Any) -> None:
        super().heartbeat(*args, **options)
        if not self.is_horse and self._keeper is not None:
            self._keep()

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._let_go()

    def teardown(self) -> None:
        self._let_go()
        super().teardown()  # type: ignore[no-untyped-call]

    def _keep(self) -> None:
        """Have a process that looks after the jobs: none that forks may have threads for it."""
        if self._keeper is not None and os.waitpid(self._keeper, os.WNOHANG) == (0, 0):
            return
        self._keeper = os.fork()
        if self._keeper == 0:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            try:
                _guest().look_after(self.queue_names())
            except StoreError as error:
                _logger.warning("nobody looks after the jobs for now. %s", error)
            except BaseException:
                # What leaves here is heard by nobody.
                _logger.exception("nobody looks after the jobs for now")
            finally:
                os._exit(0)

    def _let_go(self) -> None:
        """Tell all children that this worker stops."""
        alive, _guest().alive = _guest().alive, None
        keeper, self._keeper = self._keeper, None
        if alive is not None:
            os.close(alive[1])
            os.close(alive[0])
        if keeper is not None:
            os.waitpid(keeper, 0)
