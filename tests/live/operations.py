"""Async routes of the app under test."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from events import record
from flask import Blueprint, Response, request

from flask_later import Later, current_job


def async_routes(
    later: Later, wait_for_gate: Callable[[str], bool], is_open: Callable[[str], bool]
) -> Blueprint:
    routes = Blueprint("operations", __name__, url_prefix="/async")

    @routes.post("/echo/<key>")
    @later.respond_async(name="echo")
    def echo(key: str) -> dict[str, object]:
        return {"key": key, "size": len(request.get_data()), "x": request.args.get("x")}

    @routes.post("/gated/<key>")
    @later.respond_async(name="gated")
    def gated(key: str) -> dict[str, object]:
        record("view-began", key=key, attempt=current_job.attempt)
        return {"met": wait_for_gate(key), "by": os.getpid()}

    @routes.post("/chatty/<key>")
    @later.respond_async(name="chatty")
    async def chatty(key: str) -> str:
        """Says something all the time."""
        for step in current_job.track(range(1_000), message=key):
            if is_open(key):
                break
            current_job.log(f"step {step}")
            time.sleep(0.02)
        return "done"

    @routes.after_app_request
    def tell_who_answers(response: Response) -> Response:
        response.headers["X-Pid"] = str(os.getpid())
        return response

    return routes
