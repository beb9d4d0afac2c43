"""The progress page: an operation for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Request, Response, render_template

from flask_later.core.job import JobState, LogLine, StopReason
from flask_later.tasks.state import AppState

from .answers import description, see_other, whole
from .document import answer_of, document, etag, instant, links, retry_after
from .operation import Operation
from .protection import PROTECTION

#: Log lines that are shown, of those that a store keeps, and characters of each.
_SHOWN_LINES, _KEPT_LINES, _SHOWN_CHARACTERS = 100, 1_000, 500
#: Without JavaScript the whole page is loaded anew, and not more often than that, in seconds.
_QUICKEST_RELOAD = 2
#: The argument of the URL with which it is not: whoever reads slowly, or by ear, asks for that.
_STILL = "still"


def show(state: AppState, request: Request, operation: Operation) -> Response:
    """Return the page; once there is a result, the way leads there."""
    if operation.is_done:
        operation = whole(state, operation)
    shown = document(state, operation, links(request, state.settings, operation.id))
    if _has_result(operation) and not _is_download(operation):
        return see_other(shown["links"]["result"])
    lines = state.store.log(operation.id, limit=_KEPT_LINES)[-_SHOWN_LINES:]
    # Log lines make another page, and not another operation.
    tag = f"{etag(operation.record)[1:-1]}-{lines[-1].id if lines else 0}"
    if request.if_none_match.contains_weak(tag):
        response = Response(None, 304, description(state, operation))
    else:
        seconds = None if operation.is_done or _STILL in request.args else _pace(state, operation)
        page = _rendered(operation, shown, lines, seconds)
        headers = description(state, operation, "text/html; charset=utf-8")
        response = Response(page, 200, [*headers, *PROTECTION])
    response.set_etag(tag)
    return response


def _rendered(
    operation: Operation,
    shown: Mapping[str, Any],
    lines: Sequence[LogLine],
    seconds: int | None,
) -> str:
    return render_template(
        "later/operation.html",
        operation=shown,
        title=operation.title or _readable(operation.task),
        state=_state(operation, shown["status"]),
        percent=_percent(shown),
        lines=[_shown_line(line) for line in lines],
        seconds=seconds,
    )


def _state(operation: Operation, status: str) -> str:
    """Return what people are told: a little more than the status."""
    record = operation.record
    if record.stop is StopReason.CANCELLED and not operation.is_done:
        return "stopping"
    if record.state is JobState.SCHEDULED and record.attempts:
        return "waiting"
    return status


def _percent(shown: Mapping[str, Any]) -> float | None:
    """Return how much of it is done. Success is all of it, whatever was told last."""
    if shown["status"] == "succeeded":
        return 100.0
    return None if shown["progress"] is None else shown["progress"]["percent"]


def _has_result(operation: Operation) -> bool:
    """Whether there is something to see instead of the page."""
    return operation.record.state is JobState.SUCCEEDED or answer_of(operation) is not None


def _is_download(operation: Operation) -> bool:
    """Whether browsers save the result, and so stay on the page that leads there."""
    if operation.result_url is not None:
        return False
    answer = answer_of(operation)
    if answer is None:
        return False
    names = (value for name, value in answer.headers if name.lower() == "content-disposition")
    return answer.status < 400 and next(names, "").lower().startswith("attachment")


def _pace(state: AppState, operation: Operation) -> int:
    return max(_QUICKEST_RELOAD, retry_after(operation.record, state.clock.now()))


def _shown_line(line: LogLine) -> dict[str, object]:
    return {"at": instant(line.at), "message": line.message[:_SHOWN_CHARACTERS]}


def _readable(task: str) -> str:
    """Return the name of a task as people would write it: "Yearly report"."""
    return task.rpartition(".")[2].replace("_", " ").strip().capitalize()
