"""The app context that a job runs in: always a fresh one, never a copy of a request's."""

from __future__ import annotations

import weakref
from functools import lru_cache
from types import TracebackType
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter

from flask_later.logs import Log

_logger = Log(__name__)

_NO_REQUEST = "outside of request context"
_NO_HOST = "Unable to build URLs outside an active request"


class JobContext:
    """A fresh app context, in which ``url_for`` builds what the enqueuing view would have built.

    *request_url* is the root of the enqueuing request's URL; *base_url* stands in for it where
    there was none. Leaving tears the context down, so that scoped database sessions are removed;
    a teardown function that raises is logged, and what the job did stands.

    A class, because a generator costs a job two microseconds more.
    """

    __slots__ = ("_base_url", "_context", "_request_url")

    def __init__(self, app: Flask, request_url: str | None, base_url: str | None) -> None:
        self._context = app.app_context()
        self._request_url = request_url
        self._base_url = base_url

    def __enter__(self) -> None:
        context = self._context
        context.push()
        try:
            if self._request_url is not None:
                adapter = _adapter_of_request(weakref.ref(context.app), self._request_url)
                context.url_adapter = adapter or context.url_adapter
            elif self._base_url is not None:
                context.url_adapter = _adapter(context.app.url_map, self._base_url)
        except BaseException as error:
            self._pop(error)
            raise

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._pop(error)

    def _pop(self, error: BaseException | None) -> None:
        try:
            self._context.pop(error)
        except BaseException:
            _logger.exception("a teardown_appcontext function raised after a job")


@lru_cache(maxsize=64)
def _adapter_of_request(here: weakref.ref[Flask], url: str) -> MapAdapter | None:
    """Return what the app makes of a request to *url*, or None if it makes nothing of it.

    Its reference is weak so that an app which nobody uses any more is let go.
    """
    app = here()
    assert app is not None, "it is the caller's"
    try:
        parts = urlsplit(url)
        environ = {
            "wsgi.url_scheme": parts.scheme,
            "HTTP_HOST": parts.netloc,
            "SCRIPT_NAME": parts.path.rstrip("/"),
            "PATH_INFO": "/",
            "REQUEST_METHOD": "GET",
            "SERVER_NAME": parts.hostname or "",
            "SERVER_PORT": str(parts.port or ""),
        }
        return app.create_url_adapter(app.request_class(environ))
    except (ValueError, HTTPException):
        # A client may send any Host. Where nobody has checked it, it is worth no more than none.
        return None


@lru_cache(maxsize=64)
def _adapter(url_map: Map, base_url: str) -> MapAdapter:
    parts = urlsplit(base_url)
    return url_map.bind(parts.netloc, script_name=parts.path or "/", url_scheme=parts.scheme)


def explain_request_use(error: BaseException, task: str) -> None:
    """Say what to do instead, if *error* is Flask's about a missing request."""
    # Its text itself is looked at, since a __str__ of somebody's may raise.
    text = error.args[0] if error.args else None
    if not isinstance(error, RuntimeError) or not isinstance(text, str):
        return
    if _NO_HOST in text:
        error.add_note(
            f"No request enqueued this job of task {task!r}, so there is no host to build on. Set "
            f"LATER_BASE_URL = 'https://shop.example/'."
        )
    if _NO_REQUEST in text:
        function = task.rpartition(".")[2]
        error.add_note(
            f"Task {task!r} used 'request', 'session' or what builds on them. Tasks run after the "
            f"request has ended: read the value in the view and pass it, "
            f"e.g. {function}.enqueue(ip=request.remote_addr)."
        )
