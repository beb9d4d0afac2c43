"""Callbacks after the response: the WSGI middleware, and what a view leaves with it.

A server is done with a response when it calls ``close()`` on the iterable, whose thread it goes on
using. So ``close()`` hands the callbacks over to threads of ours, and never runs one. Some servers
and all test clients forget to call it; then ``__del__`` does the same, as soon as the server drops
the iterable. For that no cycle may lead back to it: it knows the environ, and what lies in the
environ knows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, final

from flask import Flask, got_request_exception, has_request_context, request
from werkzeug.wsgi import ClosingIterator

from flask_later.errors import CallbackQueueFullError, OutsideRequestError
from flask_later.runtime.callbacks import Callback, Callbacks

from .exchange import (
    NO_ROUTE,
    Answer,
    Exchange,
    Route,
    StandingCallback,
    StandingCallbacks,
    make_exchange,
    require_callable,
    route_of,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

P = ParamSpec("P")

#: Stands in the environ after the end. The server's ``start_response`` often leads back to the
#: environ; with the aftermath still in there, each request would leave a cycle to the collector.
_ENDED = object()

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


def after_this_response(
    app: Flask | None, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> CallbackHandle:
    """Run ``function(*args, **kwargs)`` once the server has the response of this request.

    *app* is the current one. The function is skipped if the response fails: its status is 500 or
    higher, the app raises, or the server stops before the end; see :meth:`CallbackHandle.always`.

    :raises OutsideRequestError: if there is no response to come.
    :raises CallbackQueueFullError: if too many callbacks wait already.
    """
    if app is None or not has_request_context():
        raise OutsideRequestError(None)
    require_callable(function)
    aftermath: object = request.environ.get(_environ_key(app))
    if not isinstance(aftermath, Aftermath):
        raise OutsideRequestError(app.name) if aftermath is None else _too_late(app)
    handle = aftermath.leave(function, args, kwargs)
    # Asked after it was left, so that a response which ends meanwhile cannot lose it.
    if not aftermath.is_open and handle.withdraw():
        raise _too_late(app)
    return handle


def _environ_key(app: Flask) -> str:
    # One for each app: apps mounted in each other share an environ.
    return f"flask_later.aftermath.{id(app)}"


def _too_late(app: Flask) -> OutsideRequestError:
    error = OutsideRequestError(app.name)
    error.add_note(
        "The response has already been handed over. Call after_this_response() in the view, or in "
        "the generator of a streamed response."
    )
    return error


@final
class CallbackHandle:
    """A callback that was left for the end of the response."""

    __slots__ = ("_callback", "_is_always")

    def __init__(self, callback: Callback, always: bool = False) -> None:
        self._callback = callback
        self._is_always = always

    def always(self) -> CallbackHandle:
        """Run it even if the response fails. Has an effect until the response has ended."""
        self._is_always = True
        return self

    def cancel(self) -> CallbackHandle:
        """Do not run it, and give its place back. Has an effect until it begins to run."""
        self._callback.cancel()
        return self

    def withdraw(self) -> bool:
        """Cancel it; False if it has begun, or was cancelled before."""
        return self._callback.cancel()

    def settle(self, failed: bool) -> Callback | None:
        """Return what is to be handed over now that the response has ended, if anything."""
        if failed and not self._is_always:
            self._callback.cancel()
            return None
        return self._callback


@final
class Aftermath:
    """What is to happen after one response. It stands in the environ, and is ``start_response``."""

    __slots__ = (
        "_start_response",
        "callbacks",
        "handles",
        "headers",
        "is_open",
        "key",
        "standing",
        "status",
    )

    def __init__(self, callbacks: Callbacks, start_response: StartResponse, key: str) -> None:
        self.key = key
        self._start_response = start_response
        self.callbacks = callbacks
        self.handles: list[CallbackHandle] = []
        self.status: str | None = None
        self.headers: list[tuple[str, str]] = []
        self.standing: Standing | None = None
        #: Whether something left now would still run.
        self.is_open = True

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        self.status = status
        self.headers = headers
        if self.standing is not None:
            self.standing.reserve(self)
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)

    def leave(
        self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallbackHandle:
        handle = CallbackHandle(self.callbacks.reserve(function, args, kwargs))
        self.handles.append(handle)
        return handle

    def end(self, environ: WSGIEnvironment) -> None:
        """Take nothing more."""
        self.is_open = False
        environ[self.key] = _ENDED

    def hand_over(self, environ: WSGIEnvironment, completed: bool) -> None:
        """Hand over what was left, or skip it. Takes no lock: see the module's docstring."""
        handles, self.handles = self.handles, []
        if not handles:
            return
        status = self.status_code
        failed = not completed or status is None or status >= 500
        settled = [handle.settle(failed) for handle in handles]
        batch = [callback for callback in settled if callback is not None]
        if not batch:
            return
        if self.standing is not None:
            answer = Answer(status, self.headers, self.content_length, completed)
            self.standing.tell(environ, answer)
        if not self.callbacks.manual and _ends_with_response(environ):
            self.callbacks.run_here(batch)
        else:
            self.callbacks.hand_over(batch)

    @property
    def status_code(self) -> int | None:
        code = (self.status or "").partition(" ")[0]
        return int(code) if code.isdecimal() else None

    @property
    def content_length(self) -> int | None:
        for name, value in self.headers:
            if name.lower() == "content-length":
                return int(value) if value.isdecimal() else None
        return None

    @property
    def has_no_body(self) -> bool:
        return (self.status or "")[:3] in {"204", "304"}


@final
class Standing:
    """The standing callbacks of one request, from its arrival on."""

    __slots__ = ("_app", "_arrived", "_callbacks", "_environ", "_route", "_told", "_waiting")

    def __init__(
        self,
        app: Flask,
        waiting: StandingCallbacks,
        callbacks: Callbacks,
        environ: WSGIEnvironment,
    ) -> None:
        self._app = app
        self._waiting: StandingCallbacks | None = waiting
        self._callbacks = callbacks
        # Until they are reserved only: the environ holds this object, and a cycle lives on.
        self._environ: WSGIEnvironment | None = environ
        self._arrived = callbacks.clock.monotonic()
        self._route = NO_ROUTE
        self._told: list[Callback] = []

    def note(self, route: Route) -> None:
        self._route = route

    def reserve(self, aftermath: Aftermath) -> None:
        """Take their places, once. Here, on the server's thread, locks may still be taken."""
        waiting, self._waiting = self._waiting, None
        environ, self._environ = self._environ, None
        if waiting is None or environ is None:
            return
        # Flask takes the request out of the environ before wsgi_app returns.
        if (current := environ.get("werkzeug.request")) is not None:
            self._route = route_of(current)
        refused: list[str] = []
        for entry in waiting.following(self._app, self._route):
            try:
                aftermath.handles.append(self._reserve(entry))
            except CallbackQueueFullError as error:
                refused.append(error.callback)
        if refused:
            self._callbacks.refuse(refused)

    def _reserve(self, entry: StandingCallback) -> CallbackHandle:
        callback = self._callbacks.reserve(entry.function)
        if entry.takes_exchange:
            self._told.append(callback)
        return CallbackHandle(callback, entry.always)

    def tell(self, environ: WSGIEnvironment, answer: Answer) -> None:
        """Give those that take it their argument."""
        if not self._told:
            return
        clock = self._callbacks.clock
        exchange: Exchange = make_exchange(environ, self._route, answer, clock, self._arrived)
        for callback in self._told:
            callback.args = (exchange,)


@final
class Body:
    """The response's iterable, as the server gets it: it notices the end.

    A server that sends a file with ``sendfile`` does not recognise its own file wrapper in here,
    and copies the file through Python instead. So only responses that need it are wrapped.
    """

    __slots__ = (
        "_aftermath",
        "_close",
        "_complete",
        "_environ",
        "_given",
        "_is_manual",
        "_next",
        "_raised",
    )

    def __init__(
        self, body: Iterable[bytes], aftermath: Aftermath, environ: WSGIEnvironment
    ) -> None:
        self._aftermath: Aftermath | None = aftermath
        self._environ = environ
        self._close: Callable[[], object] | None = getattr(body, "close", None)
        self._given = 0
        self._raised = False
        # Nothing is owed to HEAD, 204 and 304: some servers do not even ask.
        self._complete = environ.get("REQUEST_METHOD") == "HEAD" or aftermath.has_no_body
        self._next = iter(body).__next__
        # Test clients do not close, and often do not read either. In manual mode nothing runs
        # before the test says so, so what is complete need not wait for the close.
        self._is_manual = aftermath.callbacks.manual
        if self._is_manual:
            self._hand_over_early()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = self._next()
        except StopIteration:
            self._complete = True
            if self._is_manual:
                self._hand_over_early()
            raise
        except BaseException:
            self._raised = True
            raise
        self._given += len(chunk)
        if self._is_manual:
            self._hand_over_early()
        return chunk

    def close(self) -> None:
        close, self._close = self._close, None
        try:
            if close is not None:
                close()
        finally:
            self._end()

    def __del__(self) -> None:
        # The inner iterable is not closed: without us nobody would have done that either.
        self._end()

    def _hand_over_early(self) -> None:
        aftermath = self._aftermath
        if aftermath is not None and self._is_complete(aftermath):
            aftermath.hand_over(self._environ, True)

    def _end(self) -> None:
        aftermath, self._aftermath = self._aftermath, None
        if aftermath is not None:
            aftermath.end(self._environ)
            aftermath.hand_over(self._environ, self._is_complete(aftermath))

    def _is_complete(self, aftermath: Aftermath) -> bool:
        """Say whether the server has taken all, however it ended.

        Either it came to the end, or it took as many bytes as were announced: then a server, or a
        reader of the test client, need not ask for more. One that was closed or dropped earlier
        had lost its client, or its interest.
        """
        if self._raised or self._complete:
            return not self._raised
        length = aftermath.content_length
        return length is not None and self._given >= length


class AfterResponse:
    """The middleware: ``app.wsgi_app = AfterResponse(app, callbacks, standing)``.

    :param callbacks: called once a request; returns those of this process, started.
    """

    def __init__(
        self, app: Flask, callbacks: Callable[[], Callbacks], standing: StandingCallbacks
    ) -> None:
        self._app = app
        self._wsgi_app = app.wsgi_app
        self._callbacks = callbacks
        self._standing = standing
        self._key = _environ_key(app)
        got_request_exception.connect(self._note_route, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        outer: object = environ.get(self._key)
        if isinstance(outer, Aftermath) and outer.is_open:
            # The app has called itself. The outer response is the one that a client gets.
            return self._wsgi_app(environ, start_response)
        callbacks = self._callbacks()
        environ[self._key] = aftermath = Aftermath(callbacks, start_response, self._key)
        if self._standing:
            aftermath.standing = Standing(self._app, self._standing, callbacks, environ)
        try:
            body = self._wsgi_app(environ, aftermath)
            if aftermath.handles or _may_leave_more(body, aftermath):
                return Body(body, aftermath, environ)
        except BaseException:
            self._give_up(aftermath, environ)
            raise
        aftermath.end(environ)
        return body

    def _give_up(self, aftermath: Aftermath, environ: WSGIEnvironment) -> None:
        # No iterable, so no close(): the server answers by itself.
        aftermath.end(environ)
        if aftermath.standing is not None:
            aftermath.standing.reserve(aftermath)
        aftermath.hand_over(environ, False)

    def _note_route(self, sender: Flask, **extra: Any) -> None:
        # Where the app raises there is no start_response() in which the request could be seen.
        aftermath: object = request.environ.get(self._key)
        if isinstance(aftermath, Aftermath) and aftermath.standing is not None:
            aftermath.standing.note(route_of(request))


def _may_leave_more(body: Iterable[bytes], aftermath: Aftermath) -> bool:
    """Say whether code of the app may still run that leaves callbacks.

    That is the generator of a streamed response, which has no length. Files pass: they are no
    iterators of Werkzeug's.
    """
    if aftermath.status is None:
        return True
    return isinstance(body, (ClosingIterator, GeneratorType)) and aftermath.content_length is None


def _ends_with_response(environ: WSGIEnvironment) -> bool:
    """Say whether this process is one of Werkzeug's ``processes=2``.

    It forks for each request, and the child ends with the response: a thread would be lost.
    """
    return (
        bool(environ.get("wsgi.multiprocess"))
        and not environ.get("wsgi.multithread")
        and str(environ.get("SERVER_SOFTWARE", "")).startswith("Werkzeug")
    )
