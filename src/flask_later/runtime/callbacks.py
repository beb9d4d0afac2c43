"""The threads that run functions after a response, in one process.

A response is over where no lock may be taken: in ``close()`` on the server's thread, or in
``__del__``, which can interrupt the same thread at any line. What is called from there (handing
over, giving a place back) uses operations that are atomic and reentrant, and nothing else:
``SimpleQueue.put``, ``deque.append``, ``list.pop``.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from functools import partial
from typing import Any, Protocol, cast, final

from flask_later.core.clock import Clock
from flask_later.errors import CallbackQueueFullError
from flask_later.logs import Log
from flask_later.signals import callback_failed, callbacks_dropped, send

from .threads import ThreadGroup, is_interrupt

#: Seconds between the hand-over and the run. A server may write the end of the response only after
#: ``close()`` has returned; a callback that begins at once and holds the GIL keeps that from the
#: client. Measured over 130 responses of 13 servers: 8 came late without the delay, 0 with it.
SETTLE = 0.02
#: Names that one log line, or one signal, lists at most.
NAMES = 20
#: Seconds between two log lines that say that callbacks found no place.
REPORT_EVERY = 10.0

#: Why callbacks were dropped, as ``reason`` of the signal says it.
FULL, STOPPED = "full", "stopped"

_logger = Log(__name__)


class App(Protocol):
    """What callbacks need of a Flask app."""

    def app_context(self) -> AbstractContextManager[object]: ...

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]: ...


@final
class Callback:
    """One call that has a place. It runs, or is cancelled, but never both and never twice."""

    __slots__ = ("_place", "args", "function", "is_always", "kwargs")

    def __init__(
        self,
        free: deque[None],
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        #: Whether it is to run after a failed response as well; who hands over asks.
        self.is_always = False
        # Who pops the only item owns the callback: list.pop is atomic, so one of all who try.
        self._place = [free]

    @property
    def name(self) -> str:
        return callable_name(self.function)

    def take(self) -> deque[None] | None:
        """Return where the place goes back to, to the first who asks; None to all others."""
        try:
            return self._place.pop()
        except IndexError:
            return None

    def cancel(self) -> bool:
        """Give the place back without a run. False if it has begun, or was cancelled before."""
        free = self.take()
        if free is None:
            return False
        free.append(None)
        return True


@final
class _Batch:
    """The callbacks of one response. One thread runs them, in the order in which they were left."""

    __slots__ = ("callbacks", "not_before", "running")

    def __init__(self, callbacks: Sequence[Callback], not_before: float) -> None:
        self.callbacks = callbacks
        self.not_before = not_before
        self.running: Callback | None = None


class Callbacks:
    """The places for callbacks of one process, and the threads that run them.

    :param limit: how many may wait or run at a time.
    :param manual: nothing runs by itself; :meth:`run_pending` does it.
    """

    def __init__(
        self, app: App, clock: Clock, *, threads: int, limit: int, manual: bool = False
    ) -> None:
        self._app = app
        self.clock = clock
        self.limit = limit
        self.manual = manual
        # A deque and not a semaphore, which would take a lock to give a place back.
        self._free: deque[None] = deque([None] * limit)
        # Looked up when a process first needs it: gevent replaces the class. None only wakes.
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._busy: set[_Batch] = set()
        self._threads = ThreadGroup("later-callback", 0 if manual else threads, self._work)
        self._stopping = False
        self._joined = False
        self._stop_settling = threading.Condition()
        self._refusals = _Refusals(app, clock)

    @property
    def waiting(self) -> int:
        """How many places are taken now."""
        return self.limit - len(self._free)

    # The life of the part

    def start(self) -> None:
        """Start all threads; none in manual mode."""
        self._threads.start()

    def stop(self) -> None:
        """Run what was and will be handed over, without waiting for its time, and then end."""
        self._stopping = True
        with self._stop_settling:
            self._stop_settling.notify_all()
        self._queue.put(None)

    def join(self, deadline: float) -> None:
        """Wait for the end; what has not begun by *deadline* is dropped, and reported."""
        self._threads.join(deadline)
        self._joined = True
        self._drop_what_is_left()
        for batch in list(self._busy):
            if (running := batch.running) is not None:
                _logger.warning("callback %r still runs while the process stops", running.name)

    # What a request does

    def reserve(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Callback:
        """Take a place for a call of *function*. It is handed over or cancelled, else it is lost.

        :raises CallbackQueueFullError: if there is none.
        """
        try:
            self._free.popleft()
        except IndexError:
            raise CallbackQueueFullError(callable_name(function), self.limit) from None
        return Callback(self._free, function, args, kwargs or {})

    def hand_over(self, callbacks: Sequence[Callback]) -> None:
        """Have *callbacks* run soon, in their order; returns at once and takes no lock."""
        self._queue.put(_Batch(callbacks, self.clock.monotonic() + SETTLE))
        # Asked after the put, so that either join() sees the batch, or this sees its end.
        if self._joined:
            self._drop_what_is_left()

    def refuse(self, names: Sequence[str]) -> None:
        """Report callbacks that nobody can be told about, since they stand: no place was left."""
        self._refusals.add(names)

    # Runs on the caller's thread

    def run_here(self, callbacks: Sequence[Callback]) -> None:
        """Run *callbacks* now. For a process that ends with its response.

        Ctrl-C ends that process as well: what has not begun by then is dropped, and reported.
        """
        left = deque(callbacks)
        try:
            while left:
                self._run(left.popleft())
        finally:
            self._drop(left)

    def run_pending(self) -> int:
        """Run all that waits, and what that hands over in turn; return how many ran."""
        ran = 0
        for batch in self._take_all():
            ran += sum([self._run(callback) for callback in batch.callbacks])
        return ran

    # The threads

    def _work(self) -> None:
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        # A function of its own: an idle thread keeps no arguments of the last callbacks alive.
        batch = self._next()
        if batch is None:
            # One wake-up is enough for all threads: each passes it on.
            self._queue.put(None)
            return False
        self._busy.add(batch)
        try:
            self._settle(batch.not_before)
            for callback in batch.callbacks:
                batch.running = callback
                self._run(callback)
        finally:
            self._busy.discard(batch)
        return True

    def _next(self) -> _Batch | None:
        while not self._stopping:
            batch = self._queue.get()
            if batch is not None:
                return batch
        return self._last()

    def _last(self) -> _Batch | None:
        """Return what comes while the process stops: a taken place belongs to a response that has
        not ended yet, and a server may say so only after its client has read it all."""
        while (batch := next(self._take_all(), None)) is None:
            if not self.waiting or self._joined:
                return None
            # Taken out just now; a thread that sleeps until one comes still needs it.
            self._queue.put(None)
            with self._stop_settling:
                self._stop_settling.wait(SETTLE)
        return batch

    def _settle(self, not_before: float) -> None:
        if self.clock.monotonic() >= not_before:
            return
        with self._stop_settling:
            while not self._stopping and (left := not_before - self.clock.monotonic()) > 0:
                self.clock.wait(self._stop_settling, left)

    # Both

    def _take_all(self) -> Iterator[_Batch]:
        while True:
            try:
                batch = self._queue.get_nowait()
            except queue.Empty:
                return
            if batch is not None:
                yield batch

    def _run(self, callback: Callback) -> bool:
        free = callback.take()
        if free is None:
            return False
        try:
            # An empty context: neither a request that is current where this runs, nor what an
            # earlier callback has set, can be seen.
            Context().run(self._call, callback)
        except BaseException as error:
            self._report_failure(callback.name, error)
            # Ctrl-C belongs to whoever runs a test; on a thread of ours it was only raised.
            if is_interrupt(error):
                raise
        finally:
            free.append(None)
        return True

    def _call(self, callback: Callback) -> None:
        with self._app.app_context():
            self._app.ensure_sync(callback.function)(*callback.args, **callback.kwargs)

    def _report_failure(self, name: str, error: BaseException) -> None:
        if isinstance(error, RuntimeError) and "outside of request context" in str(error):
            error.add_note(
                f"Callback {name!r} used 'request', 'session' or what builds on them. Callbacks "
                f"run after the request has ended: read the value in the view and pass it, "
                f"e.g. later.after_this_response({name.rpartition('.')[2]}, request.remote_addr)."
            )
        _logger.error("callback %r raised", name, exc_info=error)
        send(callback_failed, self._app, callback=name, exception=error)

    def _drop_what_is_left(self) -> None:
        # What a stuck thread still has before it counts too: who takes a callback, owns it.
        batches = [*self._take_all(), *list(self._busy)]
        self._drop(each for batch in batches for each in batch.callbacks)

    def _drop(self, callbacks: Iterable[Callback]) -> None:
        dropped = [each.name for each in callbacks if each.cancel()]
        if not dropped:
            return
        _logger.error(
            "callbacks dropped since the process stops: %d (%s)", len(dropped), _listed(dropped)
        )
        _send_dropped(self._app, dropped, STOPPED)


class _Refusals:
    """Says that callbacks found no place: a signal each time, a log line now and then."""

    def __init__(self, app: App, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._lock = threading.Lock()
        self._unsaid = 0
        self._quiet_until: float | None = None

    def add(self, names: Sequence[str]) -> None:
        _send_dropped(self._app, names, FULL)
        count = self._count(len(names))
        if count:
            _logger.warning(
                "callbacks dropped for want of a place: %d, the last of them %s. Raise "
                "LATER_MAX_CALLBACKS or LATER_CALLBACK_THREADS, or make a task of the work.",
                count,
                _listed(names),
            )

    def _count(self, refused: int) -> int:
        """Return how many are to be reported now, else 0."""
        with self._lock:
            self._unsaid += refused
            now = self._clock.monotonic()
            if self._quiet_until is not None and now < self._quiet_until:
                return 0
            self._quiet_until = now + REPORT_EVERY
            count, self._unsaid = self._unsaid, 0
            return count


def callable_name(function: object) -> str:
    """Return a name of *function* for people; never its ``repr``, which may show a secret."""
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    named = function if hasattr(function, "__qualname__") else type(function)
    module, name = getattr(named, "__module__", None), getattr(named, "__qualname__", "?")
    return f"{module}.{name}" if module else name


def _listed(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct[:NAMES]) + (", ..." if len(distinct) > NAMES else "")


def _send_dropped(app: App, names: Iterable[str], reason: str) -> None:
    names = tuple(names)
    send(callbacks_dropped, app, callbacks=names[:NAMES], count=len(names), reason=reason)
