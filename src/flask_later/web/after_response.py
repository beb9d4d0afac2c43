"""Callbacks after the response: the WSGI middleware, and what a view calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import GeneratorType
from typing import TYPE_CHECKING, Any, ParamSpec

from flask import Flask, got_request_exception, has_request_context, request
from werkzeug.wsgi import ClosingIterator

from flask_later.errors import OutsideRequestError
from flask_later.runtime.callbacks import Callbacks
from flask_later.tasks.state import get_request

from .aftermath import Aftermath, Body, CallbackHandle, Standing
from .exchange import StandingCallbacks, require_callable, route_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

P = ParamSpec("P")


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
    aftermath: object = get_request().environ.get(_environ_key(app))
    if not isinstance(aftermath, Aftermath):
        raise OutsideRequestError(app.name) if aftermath is None else _too_late(app)
    handle = aftermath.leave(function, args, kwargs)
    if handle is None:
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


class AfterResponse:
    """The middleware: ``app.wsgi_app = AfterResponse(app, callbacks, standing)``.

    :param callbacks: called with the environ of each request; returns those of this process,
        started.
    """

    def __init__(
        self,
        app: Flask,
        callbacks: Callable[[WSGIEnvironment], Callbacks],
        standing: StandingCallbacks,
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
        callbacks = self._callbacks(environ)
        environ[self._key] = aftermath = Aftermath(callbacks, start_response, self._key)
        if self._standing:
            aftermath.standing = Standing(self._app, self._standing, callbacks, environ)
        try:
            body = self._wsgi_app(environ, aftermath)
            if aftermath.left or _may_leave_more(body, aftermath):
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

    That is the generator of a streamed response, which has no length, but a body. Files pass: they
    are no iterators of Werkzeug's.
    """
    if aftermath.status is None:
        return True
    if not isinstance(body, (ClosingIterator, GeneratorType)) or aftermath.has_no_body:
        return False
    return aftermath.content_length is None
