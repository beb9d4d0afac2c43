"""How every refusal is told: as a problem document (RFC 9457), and to people as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NoReturn

from flask import Response, abort, render_template

from flask_later.tasks.state import get_request

from .preferences import prefers_html
from .protection import PROTECTION

MEDIA_TYPE = "application/problem+json"
#: What is told of an operation that is none, or is somebody else's: the two cannot be told apart.
UNKNOWN = "There is no such operation."
#: Headers where the store does not answer, or has no room: when to try again, in seconds.
BUSY = {"Retry-After": "5"}


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """Return the response that tells what is wrong; *members* are further ones of the document."""
    document = problem_document(status, detail, **members)
    if prefers_html(get_request()):
        page = render_template("later/problem.html", problem=document)
        response = Response(page, status, PROTECTION)
    else:
        response = Response(json.dumps(document), status, mimetype=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.update(headers or {})
    return response


def problem_document(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """Return the document itself. ``about:blank``: the problem is what its status says."""
    return {
        "type": "about:blank",
        "title": _phrase(status),
        "status": status,
        "detail": detail,
        **members,
    }


def refuse(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> NoReturn:
    """Answer with a problem, past the error handlers of the app."""
    abort(problem(status, detail, headers, **members))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
