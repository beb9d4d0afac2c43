"""The operation's JSON, its links and its ETag: what a client reads while it waits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote
from zlib import crc32

from flask import Flask, Request
from werkzeug.http import parse_etags

from flask_later.config import Settings
from flask_later.core import payload
from flask_later.core.job import Glance, JobRecord, JobState, StopReason
from flask_later.tasks.state import AppState

from . import responses
from .operation import Operation, expires_at
from .problems import problem_document

_PUBLIC: Mapping[JobState, str] = {
    JobState.HELD: "queued",
    JobState.SCHEDULED: "queued",
    JobState.QUEUED: "queued",
    JobState.PARKED: "queued",
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
#: Results up to this size are part of the document.
_EMBEDDED = 64 * 1024
#: For an error that its author has not written for clients.
_FAILED = "The operation failed."
#: Seconds from its creation up to which an operation is asked for so often.
_PACES = ((5, 1), (30, 2), (120, 5))
_SLOWEST = 10


class Links(NamedTuple):
    """Where the parts of an operation are, relative to the host."""

    self: str
    cancel: str
    events: str
    result: str


def links(request: Request, settings: Settings, operation_id: str) -> Links:
    # By hand: url_for would take longer than all else that a poll does.
    root = request.environ.get("SCRIPT_NAME", "")
    if root:
        root = quote(root.rstrip("/").encode("latin-1"))
    path = f"{root}{settings.operations}/{operation_id}"
    return Links(path, f"{path}/cancel", f"{path}/events", f"{path}/result")


def etag(record: JobRecord | Glance) -> str:
    """Return what changes whenever the document does, made of little: polls compare it."""
    parts = f"{record.fence}-{record.attempts}-{record.state.value}"
    if record.stop is not None:
        parts += f"-{record.stop.value}"
    if record.progress is not None:
        told = repr((*record.progress, record.progress_at))
        parts += f"-{crc32(told.encode('utf-8', 'replace')):08x}"
    return f'"{parts}"'


def is_known(tag: str, known: str) -> bool:
    """Whether *known*, an ``If-None-Match``, names *tag*; weakly compared (RFC 9110, 13.1.2)."""
    return known == tag or parse_etags(known).contains_weak(tag[1:-1])


def retry_after(record: JobRecord | Glance, now: datetime) -> int:
    """Return the seconds after which to ask again: more, the older the operation is."""
    age = (now - record.created_at).total_seconds()
    for until, pace in _PACES:
        if age < until:
            return pace
    return _SLOWEST


def document(state: AppState, operation: Operation, where: Links) -> dict[str, Any]:
    """Return the document. Of a finished operation the record has to be whole."""
    record = operation.record
    answer = answer_of(operation)
    status = _PUBLIC[record.state]
    if answer is not None and answer.status >= 400:
        status = "failed"
    task = state.registry.get(record.task)
    most = 1 if task is None else task.options.retry.max_attempts
    document = {
        "id": record.id,
        "task": record.task,
        "status": status,
        "done": operation.is_done,
        "created_at": instant(record.created_at),
        "started_at": instant(record.started_at),
        "finished_at": instant(record.finished_at),
        "attempt": record.attempts,
        # Not all count: one whose worker died does not, nor one that asked for a later try.
        "max_attempts": max(record.attempts, most),
        "next_attempt_at": instant(record.run_at) if record.state is JobState.SCHEDULED else None,
        "progress": _progress(record),
        "result": _result(state.app, operation, answer) if status == "succeeded" else None,
        "error": error_of(operation, answer, where),
        "expires_at": instant(expires_at(record, state.settings)),
        "links": _shown(operation, where, state.settings),
    }
    if record.stop is StopReason.CANCELLED:
        document["cancel_requested"] = True
    return document


def error_of(
    operation: Operation, answer: responses.StoredResponse | None, where: Links
) -> dict[str, Any] | None:
    """Return the problem that the operation ended with; None if there is none."""
    record = operation.record
    status = 500 if answer is None or answer.status < 400 else answer.status
    if record.state is JobState.FAILED:
        error = operation.whole.error
        detail = error.message if error is not None and error.public else _FAILED
        return problem_document(status, detail, instance=where.self)
    if answer is not None and answer.status >= 400:
        detail = answer.detail or f"The view answered {status}; see the result."
        return problem_document(status, detail, instance=where.self)
    if record.state is JobState.CANCELLED and operation.whole.error is not None:
        return problem_document(503, "Nobody had begun it in time.", instance=where.self)
    return None


def answer_of(operation: Operation) -> responses.StoredResponse | None:
    """Return the response that the view has made, or the app after it has crashed; or None."""
    if not operation.is_view or not operation.is_done or operation.whole.result is None:
        return None
    return responses.load(operation.whole.result)


def _result(app: Flask, operation: Operation, answer: responses.StoredResponse | None) -> object:
    """Return the result, if it is JSON and not too much; clients find all others by the link."""
    if answer is None:
        text = result_text(app, operation.whole)
    elif answer.is_json and answer.body is not None:
        text = answer.body.decode("utf-8", "replace")
    else:
        return None
    if len(text) > _EMBEDDED:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def result_text(app: Flask, record: JobRecord) -> str:
    """Return what a task returned, as JSON of the app's kind, or of ours if that cannot say it."""
    text = record.result or "null"
    try:
        return app.json.dumps(payload.loads(text))
    except (TypeError, ValueError):
        return text


def _progress(record: JobRecord | Glance) -> dict[str, Any] | None:
    progress = record.progress
    if progress is None:
        return None
    fraction = progress.fraction
    return {
        "current": progress.current,
        "total": progress.total,
        "percent": None if fraction is None else round(100 * fraction, 1),
        "message": progress.message,
        "updated_at": instant(record.progress_at),
    }


def _shown(operation: Operation, where: Links, settings: Settings) -> dict[str, str | None]:
    finished = operation.record.state in (JobState.SUCCEEDED, JobState.FAILED)
    return {
        "self": where.self,
        "cancel": None if operation.is_done else where.cancel,
        "events": where.events if settings.events and not operation.is_done else None,
        "result": (operation.result_url or where.result) if finished else None,
    }


def instant(at: datetime | None) -> str | None:
    """Return an instant as JSON has it, in UTC."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
