"""A small API for schemathesis: its document says all that its one route does."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, Response, abort, request

from flask_later import Later, current_job

_TEXT = {"text/html": {"schema": {"type": "string"}}}
_REPORT: dict[str, Any] = {
    "operationId": "report",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["year"],
                    "properties": {"year": {"type": "integer", "minimum": 0, "maximum": 9999}},
                }
            }
        },
    },
    "responses": {
        "200": {
            "description": "The report.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["rows"],
                        "properties": {"rows": {"type": "integer"}},
                    }
                }
            },
        },
        "400": {"description": "It is not JSON.", "content": _TEXT},
        "415": {"description": "It does not say that it is.", "content": _TEXT},
        "422": {"description": "There is no such year.", "content": _TEXT},
    },
}


def make_app(version: str) -> tuple[Flask, Later]:
    """Return the app, with a document for this *version* of OpenAPI. Its jobs run by themselves."""
    app = Flask("reports")
    app.config.update(
        LATER_STORE="memory://", LATER_MANUAL=False, LATER_MAX_WAIT=1.0, LATER_EVENTS=True
    )
    later = Later(app)

    @app.post("/reports")
    @_with_year
    @later.respond_async
    def report(year: int) -> dict[str, int]:
        for _ in current_job.track(range(10)):
            time.sleep(0.01)
        return {"rows": year}

    @app.get("/openapi.json")
    def document() -> dict[str, Any]:
        return later.openapi.add_to(
            {
                "openapi": version,
                "info": {"title": "Reports", "version": "1"},
                "paths": {"/reports": {"post": _REPORT}},
            }
        )

    return app, later


def _with_year(view: Callable[[int], Response]) -> Callable[[], Response]:
    """Refuse in the request what is no year."""

    @wraps(view)
    def checked() -> Response:
        asked = request.get_json()
        year = asked.get("year") if isinstance(asked, dict) else None
        # 2026.0 is an integer in JSON Schema.
        if isinstance(year, bool) or not isinstance(year, int | float) or year not in range(10_000):
            abort(422)
        return view(int(year))

    return checked
