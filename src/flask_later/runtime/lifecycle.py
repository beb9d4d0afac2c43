"""When a process begins to work, and how it ends.

Nothing starts in ``init_app``: reloader parents, masters before a fork and commands import the
app as well. A process *serves* once a request came in or ``later.start(app)`` was called; it is
known by its pid, compared at each use, since uWSGI's forks run no hooks.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from flask_later import signals
from flask_later.core.engine import Ran, never
from flask_later.core.job import Hint
from flask_later.errors import StoreError
from flask_later.logs import Log
from flask_later.runtime.beginning import Beginning
from flask_later.runtime.callbacks import Callbacks
from flask_later.runtime.part import Part
from flask_later.runtime.process import Process
from flask_later.runtime.surroundings import complaints, ends_with_response
from flask_later.runtime.worker_options import WorkerOptions
from flask_later.tasks.opening import ProcessLock
from flask_later.tasks.state import AppState

_logger = Log(__name__)

#: Under which an app's extensions have its lifecycle.
LIFECYCLE_KEY = "later.lifecycle"


class Lifecycle:
    """Starts one app's :class:`Process` in each process that serves, and stops it."""

    def __init__(
        self, get_state: Callable[[], AppState], make: Callable[[WorkerOptions | None], Process]
    ) -> None:
        self._get_state = get_state
        self._make = make
        #: Held by whoever makes a process begin, or tells it to end.
        self._turn = ProcessLock()
        #: Held until the end of a process, so that the next one begins after it.
        self._end = ProcessLock()
        self._said: dict[int, set[str]] = {}
        self._pid = 0
        self._process: Process | None = None
        self._stopped = False
        #: How the process begins, unless it has begun at once.
        self._beginning: Beginning | None = None
        #: What was told to end and has not yet been waited for.
        self._told: Process | None = None
        #: The process in which a request was seen.
        self._requested = 0
        #: The process that only works jobs.
        self._works = 0

    def serve(self) -> Process:
        """Return what runs in this process, started if it was not: this process serves.

        What was stopped stays stopped, since requests still come in while a server drains.
        """
        process = self._process
        if process is not None and self._pid == os.getpid():
            return process
        return self._start()

    def start(self) -> Process:
        """Return what runs in this process, started if it was not, or was stopped."""
        # No request tells of the server yet, but some of it shows without one.
        self._complain({})
        with self._end.here():
            if self._stopped and self._pid == os.getpid():
                self._process = None
            return self.serve()

    def work(self, options: WorkerOptions) -> Process:
        """Run jobs in this process, and nothing else that the app has: it serves nobody."""
        self._works = os.getpid()
        process = self._start(options)
        # Known from now on: one that waits for its first hint is no missing worker. A store that
        # is busy now learns of it at the first claim.
        with contextlib.suppress(StoreError):
            process.worker.register()
        return process

    def host(self, options: WorkerOptions) -> Process:
        """Be a worker in a process that an engine's own command has started, and that it serves.

        What was stopped begins anew.

        :raises StoreError: if the store does not answer; the next call tries again.
        """
        with self._end.here():
            if self._stopped and self._pid == os.getpid():
                self._process = None
            self._works = os.getpid()
            process = self._start(options, embedded=False)
            process.worker.register()
            return process

    def callbacks(self, environ: Mapping[str, Any]) -> Callbacks:
        """Return the callbacks of this process; a request came in, so it serves from now on."""
        process = self._process
        if process is None or self._requested != os.getpid():
            return self._first_request(environ)
        return process.callbacks

    def ensure_started(self) -> bool:
        """Whether jobs that are stored here are also run here."""
        serves = self._process is not None and self._pid == os.getpid()
        parts = self._get_state().parts
        if not serves and parts.manual:
            self._start()
            return True
        works = parts.settings.embedded or self._works == os.getpid()
        return serves and not self._stopped and works

    def current(self) -> Process | None:
        """Return what runs in this process, or None if it does not serve."""
        return self._process if self._pid == os.getpid() else None

    @property
    def is_stopped(self) -> bool:
        """Whether what ran in this process was told to stop: nobody should wait for it."""
        return self._stopped and self._pid == os.getpid()

    def run(
        self,
        hint: Hint | None = None,
        more: Callable[[], bool] = never,
        patience: float = 0.0,
    ) -> Ran:
        """Run a job on this process' worker: what the engine is bound to."""
        process = self.current()
        return Ran.REFUSED if process is None else process.worker.run(hint, more, patience)

    def _first_request(self, environ: Mapping[str, Any]) -> Callbacks:
        self._complain(environ)
        if ends_with_response(environ):
            # Nothing starts in a process that is about to end; it runs its callbacks by itself.
            return self._make(None).callbacks
        process = self.serve()
        with self._turn.here():
            if self._works == os.getpid() and self._requested != os.getpid():
                # A job asks the app something, as a client does.
                process.callbacks.start()
            self._requested = os.getpid()
        return process.callbacks

    def _complain(self, environ: Mapping[str, Any]) -> None:
        """Say once in each process what its surroundings make impossible."""
        said = self._said.setdefault(os.getpid(), set())
        for complaint in complaints(environ, self._get_state().parts.store):
            if complaint not in said:
                said.add(complaint)
                _logger.warning(complaint)

    def _start(self, options: WorkerOptions | None = None, *, embedded: bool = True) -> Process:
        with self._turn.here():
            if self._process is not None and self._pid == os.getpid():
                return self._process
            state = self._get_state()
            if state.parts.manual or options is not None:
                state.opening.open()
            process = self._make(options)
            # Known before its threads run, since they ask for it.
            self._process, self._pid, self._stopped = process, os.getpid(), False
            self._beginning = None
            if state.parts.manual:
                return process
            _exits.add(self)
            if options is not None:
                self._begin_to_work(state, process, embedded=embedded)
                return process
            beginning = self._begin(state, process)
        # Not within the turn, which it needs.
        beginning.wait()
        return process

    def _begin(self, state: AppState, process: Process) -> Beginning:
        def at_once() -> None:
            process.callbacks.start()
            process.services.start()

        def open_store() -> None:
            state.opening.open()

        def with_store() -> None:
            self._begin_to_work(state, process, embedded=bool(state.settings.embedded))

        beginning = Beginning(at_once, open_store, with_store, lambda: self._give_up(process))
        self._beginning = beginning
        try:
            beginning.start()
        except RuntimeError:
            # There is no thread: the next request tries again.
            self._process = None
            raise
        return beginning

    def _begin_to_work(self, state: AppState, process: Process, *, embedded: bool) -> None:
        with self._turn.here():
            if self.current() is not process or self._stopped:
                return
            process.maintenance.start()
            if embedded:
                process.worker.start()
        signals.send(signals.worker_started, state.app, worker=process.worker.id)

    def _give_up(self, process: Process) -> None:
        """End what of *process* has begun, as far as it got; the next request makes another."""
        with self._turn.here():
            if self.current() is process and not self._stopped:
                self._process = None
        _tell(process)
        _finish(process, time.monotonic() + self.shutdown_timeout)

    def stop(self, timeout: float) -> None:
        """Take no more, tell what runs, wait *timeout* seconds, report what is left.

        A second interrupt (Ctrl-C) ends the wait at once. Stopping twice does no harm.
        """
        if self._stopped:
            return
        with self._end.here():
            if self.tell():
                self.finish(time.monotonic() + timeout)

    def tell(self) -> bool:
        """Take no more and tell what runs; returns whether there is something to wait for."""
        if self._stopped:
            return False
        with self._turn.here():
            process = self.current()
            if process is None or self._stopped:
                return False
            self._stopped = True
            if self._get_state().parts.manual:
                self._get_state().opening.close()
                return False
            self._told = process
            if self._beginning is not None:
                self._beginning.stop()
            _tell(process)
        return True

    def finish(self, deadline: float) -> bool:
        """Wait until ``time.monotonic()`` is *deadline*; returns False if it was interrupted."""
        with self._end.here():
            process, self._told = self._told, None
            if process is None:
                return True
            begun = self._beginning is None or _join(self._beginning, deadline)
            patient = _finish(process, deadline if begun else 0.0) and begun
            if self.current() is process:
                self._get_state().opening.close()
            return patient

    @property
    def shutdown_timeout(self) -> float:
        return self._get_state().settings.shutdown_timeout


def _tell(process: Process) -> None:
    for part in (process.worker, process.services, process.callbacks):
        part.stop()


def _finish(process: Process, deadline: float) -> bool:
    """Wait for the parts of *process*; returns False if an interrupt ended the wait."""
    patient = True
    # The services first: they plan what they still handle by the deadline.
    for part in (process.services, process.worker, process.callbacks):
        patient = _join(part, deadline if patient else 0.0) and patient
    # Last, since it beats for the attempts that were waited for.
    process.maintenance.stop()
    process.maintenance.join(time.monotonic() + 1.0)
    return patient


def _join(part: Part, deadline: float) -> bool:
    """Wait for *part*; returns False if an interrupt ended the wait."""
    try:
        part.join(deadline)
    except KeyboardInterrupt:
        _logger.warning("interrupted again: leaving at once")
        with contextlib.suppress(KeyboardInterrupt):
            part.join(0.0)
        return False
    return True


class _Exits:
    """The lifecycles to drain when the interpreter ends.

    ``threading._register_atexit`` runs wherever any exit hook runs, ``atexit`` does not: workers
    that are ``multiprocessing`` children leave through ``os._exit``. It is the hook that
    ``concurrent.futures`` uses for the same purpose; where it is missing, ``atexit`` has to do.
    """

    def __init__(self) -> None:
        self._lifecycles: weakref.WeakSet[Lifecycle] = weakref.WeakSet()
        self._registered = False
        self._is_draining = False
        self._is_hurried = False

    def add(self, lifecycle: Lifecycle) -> None:
        self._lifecycles.add(lifecycle)
        if self._registered:
            return
        self._registered = True
        # Imported before ours is registered: exit callbacks run in reverse, and jobs may still use
        # executors while we drain.
        import_module("concurrent.futures.thread")
        register: Callable[[Callable[[], None]], None] | None
        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            # It refuses once the interpreter has begun to end.
            with contextlib.suppress(RuntimeError):
                register(self.drain)
        atexit.register(self.drain)

    def drain(self) -> None:
        """Stop them all, and wait for them together.

        A child that inherited the hook has no process of its own, and returns.
        """
        self._is_draining = True
        try:
            began = time.monotonic()
            patient = True
            for lifecycle in [each for each in list(self._lifecycles) if each.tell()]:
                deadline = began + lifecycle.shutdown_timeout
                patient = lifecycle.finish(deadline if patient else 0.0) and patient
        except KeyboardInterrupt:
            # Between two waits, or not the first and by another handler than ours.
            _logger.warning(
                "interrupted again: leaving at once; jobs in hand run again when they are missed"
            )
        except BaseException:
            _logger.exception("the end of the process could not be waited for")
        finally:
            self._is_draining = False

    def hear_interrupt(self) -> bool:
        """Return whether an interrupt that has come is to end what the process waits for.

        At its end only the first one is: what follows then takes a moment, and others would only
        keep the jobs in hand from being given back.
        """
        was_hurried, self._is_hurried = self._is_hurried, self._is_hurried or self._is_draining
        return not was_hurried

    def any_running(self) -> bool:
        """Whether this process has something to drain."""
        return any(lifecycle.current() is not None for lifecycle in list(self._lifecycles))


_exits = _Exits()


def hear_interrupt() -> bool:
    """Return whether an interrupt that has come is to end what this process waits for."""
    return _exits.hear_interrupt()


def has_work() -> bool:
    """Whether a process that ends now would leave something behind."""
    return _exits.any_running()
