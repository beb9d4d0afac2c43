"""The app context that a job runs in: always a fresh one, never a copy of a request's."""

from __future__ import annotations

import logging
from functools import lru_cache
from types import TracebackType
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.routing import Map, MapAdapter

_logger = logging.getLogger(__name__)

_NO_REQUEST = "outside of request context"


class JobContext:
    """A fresh app context, in which ``url_for`` builds on *base_url*.

    Leaving tears the context down, so that scoped database sessions are removed; a teardown
    function that raises is logged, and what the job did stands.

    A class, because a generator costs a job two microseconds more.
    """

    __slots__ = ("_base_url", "_context", "_url_map")

    def __init__(self, app: Flask, base_url: str | None) -> None:
        self._context = app.app_context()
        self._url_map = app.url_map
        self._base_url = base_url

    def __enter__(self) -> None:
        context = self._context
        context.push()
        try:
            if self._base_url is not None:
                context.url_adapter = _adapter(self._url_map, self._base_url)
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
def _adapter(url_map: Map, base_url: str) -> MapAdapter:
    parts = urlsplit(base_url)
    return url_map.bind(parts.netloc, script_name=parts.path or "/", url_scheme=parts.scheme)


def explain_request_use(error: BaseException, task: str) -> None:
    """Say what to do instead, if *error* is Flask's about a missing request."""
    # Its text itself is looked at, since a __str__ of somebody's may raise.
    text = error.args[0] if error.args else None
    if isinstance(error, RuntimeError) and isinstance(text, str) and _NO_REQUEST in text:
        function = task.rpartition(".")[2]
        error.add_note(
            f"Task {task!r} used 'request', 'session' or what builds on them. Tasks run after the "
            f"request has ended: read the value in the view and pass it, "
            f"e.g. {function}.enqueue(ip=request.remote_addr)."
        )
