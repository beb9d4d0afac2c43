"""The app context that a job runs in: always a fresh one, never a copy of a request's."""

from __future__ import annotations

import logging
from functools import lru_cache
from types import TracebackType
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.routing import Map, MapAdapter

from flask_later.tasks.registry import Registry
from flask_later.tasks.snapshot import Snapshot

_logger = logging.getLogger(__name__)


class JobContext:
    """A fresh app context, in which ``url_for`` builds on the URL of the enqueuing request.

    *base_url* stands in for it where no request enqueued the job. What ``Later.carry`` captured
    is restored inside. Leaving tears the context down, so that scoped database sessions are
    removed; a teardown function that raises is logged, and what the job did stands.

    A class, because a generator costs a job two microseconds more.
    """

    __slots__ = ("_base_url", "_context", "_registry", "_snapshot", "_url_map")

    def __init__(
        self, app: Flask, registry: Registry, snapshot: Snapshot, base_url: str | None
    ) -> None:
        self._context = app.app_context()
        self._url_map = app.url_map
        self._registry = registry
        self._snapshot = snapshot
        self._base_url = snapshot.base_url or base_url

    def __enter__(self) -> None:
        context = self._context
        context.push()
        try:
            if self._base_url is not None:
                context.url_adapter = _adapter(self._url_map, self._base_url)
            if self._snapshot.carried:
                self._registry.carriers.restore(self._snapshot.carried)
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
        except Exception:
            _logger.exception("a teardown_appcontext function raised after a job")


@lru_cache(maxsize=64)
def _adapter(url_map: Map, base_url: str) -> MapAdapter:
    parts = urlsplit(base_url)
    return url_map.bind(parts.netloc, script_name=parts.path or "/", url_scheme=parts.scheme)


def explain_request_use(error: BaseException, task: str) -> None:
    """Say what to do instead, if *error* is Flask's about a missing request."""
    if isinstance(error, RuntimeError) and "outside of request context" in str(error):
        function = task.rpartition(".")[2]
        error.add_note(
            f"Task {task!r} used 'request', 'session' or what builds on them. Tasks run after the "
            f"request has ended: read the value in the view and pass it, "
            f"e.g. {function}.enqueue(ip=request.remote_addr)."
        )
