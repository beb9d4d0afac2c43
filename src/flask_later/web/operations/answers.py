"""The responses that say how an operation is, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Request, Response
from werkzeug.datastructures import Headers

from flask_later.core.decoding import UNREADABLE
from flask_later.core.job import JobState
from flask_later.tasks.state import AppState

from . import responses
from .document import Links, document, error_of, etag, links, result_text, retry_after
from .operation import Operation, expires_at
from .problems import UNKNOWN, problem, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: On what else than the URL an answer depends.
VARY = "Prefer, Accept"
#: Nobody else may keep it, and whoever does has to ask whether it is still so.
CACHING = "private, no-cache"
_LOST = "The result cannot be read any more."


def whole(state: AppState, operation: Operation) -> Operation:
    """Return *operation* with its result, of which a glance shows nothing."""
    record = state.store.get([operation.id]).get(operation.id)
    if record is None:
        # Deleted meanwhile.
        refuse(404, UNKNOWN)
    return operation._replace(record=record)


def accepted(state: AppState, request: Request, operation: Operation) -> Response:
    """Return the 202: the operation as it is, and where to ask for it."""
    where = links(request, state.settings, operation.id)
    response = shown(state, operation, where, status=202)
    response.headers["Location"] = response.headers["Content-Location"] = where.self
    if state.settings.operation_location:
        response.headers["Operation-Location"] = request.host_url.rstrip("/") + where.self
    return response


def see_other(url: str) -> Response:
    """Send a person's browser on to *url*."""
    return Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})


def shown(state: AppState, operation: Operation, where: Links, status: int = 200) -> Response:
    """Return the document."""
    if operation.is_done:
        operation = whole(state, operation)
    text = json.dumps(document(state, operation, where), separators=(",", ":"))
    return Response(text, status, description(state, operation, "application/json"))


class _Bodiless(Response):
    """Of nothing there is no type."""

    default_mimetype = None


def nothing(headers: Mapping[str, str] | None = None) -> Response:
    """Return a 204."""
    return _Bodiless(status=204, headers=headers)


class _Unchanged(_Bodiless):
    """A 304 as it is to be sent. Most polls are answered so, and what Werkzeug does for the headers
    and the body of any response takes longer than the look into the store."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        return self.headers

    def get_app_iter(self, environ: WSGIEnvironment) -> Iterable[bytes]:
        return super().get_app_iter(environ) if self._on_close else ()


def unchanged(state: AppState, operation: Operation) -> Response:
    """Return the 304."""
    return _Unchanged(None, 304, description(state, operation))


def description(
    state: AppState, operation: Operation, content_type: str | None = None
) -> list[tuple[str, str]]:
    """Return the headers that say which version of the operation it is, and when to ask again."""
    record = operation.record
    headers = [("ETag", etag(record)), ("Cache-Control", CACHING), ("Vary", VARY)]
    if not operation.is_done:
        headers.append(("Retry-After", str(retry_after(record, state.clock.now()))))
    if content_type is not None:
        headers += [("Content-Type", content_type), ("X-Content-Type-Options", "nosniff")]
    return headers


def require_kept(state: AppState, operation: Operation) -> None:
    """Refuse what clients do not find any more, although its record is still there."""
    gone_at = expires_at(operation.record, state.settings)
    if gone_at is not None and gone_at <= state.clock.now():
        refuse(410, "The operation has expired, and its result is gone.")


def final(state: AppState, request: Request, operation: Operation, where: Links) -> Response:
    """Return what a finished operation has come to, as the view made it."""
    operation = whole(state, operation)
    record = operation.whole
    if record.state is JobState.CANCELLED and record.error is None:
        detail = "The operation was cancelled, so it has no result."
        return problem(409, detail, instance=where.self)
    if operation.is_view and record.result is not None:
        response = _made(state, request, operation)
    elif record.state is JobState.SUCCEEDED:
        response = _returned(state, operation)
    else:
        return _failed(operation, where)
    response.headers.setdefault("Cache-Control", CACHING)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _returned(state: AppState, operation: Operation) -> Response:
    """Return what the task returned."""
    record = operation.whole
    if (record.result or "")[:1] == UNREADABLE:
        return problem(410, _LOST)
    return Response(result_text(state.app, record), mimetype="application/json")


def _made(state: AppState, request: Request, operation: Operation) -> Response:
    """Return what the view made."""
    answer = responses.load(operation.whole.result or "")
    if answer is responses.LOST:
        return problem(410, _LOST)
    try:
        return responses.respond(state.app, request, answer, state.store, operation.id)
    except OSError:
        return problem(410, _LOST)


def _failed(operation: Operation, where: Links) -> Response:
    error: dict[str, Any] = error_of(operation, None, where) or {}
    return problem(error["status"], error["detail"], instance=where.self)
