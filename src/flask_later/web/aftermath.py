"""What is to happen after one response, and how its end is noticed.

A server is done with a response when it calls ``close()`` on the iterable, whose thread it goes on
using. So ``close()`` hands the callbacks over to threads of ours, and never runs one. Some servers
and all test clients forget to call it; then ``__del__`` does the same, as soon as the server drops
the iterable. For that no cycle may lead back to it: it knows the environ, and what lies in the
environ knows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

from flask import Flask

from flask_later.errors import CallbackQueueFullError
from flask_later.runtime.callbacks import Callback, Callbacks
from flask_later.runtime.surroundings import ends_with_response

from .exchange import (
    NO_ROUTE,
    Answer,
    Route,
    StandingCallback,
    StandingCallbacks,
    make_exchange,
    route_of,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

#: Stands in the environ after the end. The server's ``start_response`` often leads back to the
#: environ; with the aftermath still in there, each request would leave a cycle to the collector.
_ENDED = object()


@final
class CallbackHandle:
    """A callback that was left for the end of the response."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def always(self) -> CallbackHandle:
        """Run it even if the response fails. Has an effect until the response has ended."""
        self._callback.is_always = True
        return self

    def cancel(self) -> CallbackHandle:
        """Do not run it, and give its place back. Has an effect until it begins to run."""
        self._callback.cancel()
        return self


@final
class Aftermath:
    """What is to happen after one response. It stands in the environ, and is ``start_response``."""

    __slots__ = (
        "_start_response",
        "callbacks",
        "headers",
        "is_open",
        "key",
        "left",
        "standing",
        "status",
    )

    def __init__(self, callbacks: Callbacks, start_response: StartResponse, key: str) -> None:
        self.key = key
        self._start_response = start_response
        self.callbacks = callbacks
        self.left: list[Callback] = []
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
    ) -> CallbackHandle | None:
        """Leave a call for the end. None if that was before, on another thread perhaps."""
        callback = self.callbacks.reserve(function, args, kwargs)
        self.left.append(callback)
        # Asked after the append: an end meanwhile has taken it along, or it is withdrawn here.
        if not self.is_open and callback.cancel():
            return None
        return CallbackHandle(callback)

    def end(self, environ: WSGIEnvironment) -> None:
        """Take nothing more."""
        self.is_open = False
        environ[self.key] = _ENDED

    def hand_over(self, environ: WSGIEnvironment, completed: bool) -> None:
        """Hand over what was left, or skip it. Takes no lock: see the module's docstring."""
        left, self.left = self.left, []
        if not left:
            return
        status = self.status_code
        if not completed or status is None or status >= 500:
            left = _without_skipped(left)
        if not left:
            return
        if self.standing is not None:
            answer = Answer(status, self.headers, self.content_length, completed)
            self.standing.tell(environ, answer)
        if not self.callbacks.manual and ends_with_response(environ):
            self.callbacks.run_here(left)
        else:
            self.callbacks.hand_over(left)

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
                aftermath.left.append(self._reserve(entry))
            except CallbackQueueFullError as error:
                refused.append(error.callback)
        if refused:
            self._callbacks.refuse(refused)

    def _reserve(self, entry: StandingCallback) -> Callback:
        callback = self._callbacks.reserve(entry.function)
        callback.is_always = entry.always
        if entry.takes_exchange:
            self._told.append(callback)
        return callback

    def tell(self, environ: WSGIEnvironment, answer: Answer) -> None:
        """Give those that take it their argument."""
        if not self._told:
            return
        clock = self._callbacks.clock
        exchange = make_exchange(environ, self._route, answer, clock, self._arrived)
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
        # HEAD is owed no body, and some servers do not even ask for it.
        self._complete = environ.get("REQUEST_METHOD") == "HEAD"
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
        if self._raised:
            return False
        if self._complete or aftermath.has_no_body:
            return True
        length = aftermath.content_length
        return length is not None and self._given >= length


def _without_skipped(left: list[Callback]) -> list[Callback]:
    for callback in left:
        if not callback.is_always:
            callback.cancel()
    return [callback for callback in left if callback.is_always]
