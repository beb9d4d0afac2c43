"""The routes of operations, and what an async route answers beside its own."""

from __future__ import annotations

from collections.abc import Mapping

from flask_later.config import Settings

from .components import (
    OF_PAGES,
    OF_RESULTS,
    OF_STATES,
    OF_STREAMS,
    accepted,
    headers,
    page,
    problem,
    problem_document,
    reference,
    state,
)
from .tree import Part

#: The headers of a result for which the client has waited.
_OF_WAITS = ("Vary", "Content-Location", "Preference-Applied", "Idempotent-Replayed")


def _responses(by_status: Mapping[int | str, Part | str]) -> Part:
    """Return the responses, of which those that are named are components."""
    return {
        str(status): reference("responses", each) if isinstance(each, str) else each
        for status, each in by_status.items()
    }


def operations(settings: Settings) -> Part:
    """Return the routes of operations, where the app has them; nothing if it has none."""
    if settings.operations is None:
        return {}
    root = f"{settings.operations}/{{id}}"
    events = {f"{root}/events": _path({"get": _events(), "head": _head_of_events()})}
    return {
        root: _path({"get": _status(), "head": _head_of_status(), "delete": _delete()}),
        f"{root}/result": _path({"get": _result(), "head": _head_of_result()}),
        f"{root}/cancel": _path({"post": _cancel(settings)}),
        **(events if settings.events else {}),
    }


def _path(methods: Part) -> Part:
    return {"parameters": [reference("parameters", "OperationId")], **methods}


def _operation(name: str, summary: str, responses: Part, *parameters: str) -> Part:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["operations"],
        "parameters": [reference("parameters", name) for name in parameters],
        "responses": responses,
    }


def _status() -> Part:
    as_it_is = state("The operation as it is.", "Retry-After", "Preference-Applied", *OF_PAGES)
    as_it_is["content"]["text/html"] = page()
    responses = _responses(
        {
            200: as_it_is,
            303: "OperationSeeOther",
            304: _unchanged("Preference-Applied"),
            404: "OperationUnknown",
            410: "OperationExpired",
        }
    )
    return _operation("getOperation", "How an operation is", responses, "Prefer", "IfNoneMatch")


def _head_of_status() -> Part:
    """Return the same as for GET, which alone waits, and has a body."""
    responses = _responses(
        {
            200: {
                "description": "There is one.",
                "headers": headers(*OF_STATES, "Retry-After", *OF_PAGES),
            },
            303: "OperationSeeOther",
            304: _unchanged(),
            404: "OperationUnknown",
            410: "OperationExpired",
        }
    )
    return _operation("headOperation", "Whether an operation has changed", responses, "IfNoneMatch")


def _unchanged(*more: str) -> Part:
    return {
        "description": "It is as `If-None-Match` says.",
        "headers": headers("ETag", "Vary", "Cache-Control", "Retry-After", *more),
    }


def _delete() -> Part:
    responses = _responses(
        {
            204: {"description": "It is forgotten.", "headers": headers("Vary")},
            403: "OperationForbidden",
            404: "OperationUnknown",
            409: problem("It is not finished."),
        }
    )
    return _operation("deleteOperation", "Forget an operation that is finished", responses)


def _result() -> Part:
    return _operation("getOperationResult", "What an operation has come to", _results())


def _head_of_result() -> Part:
    return _operation("headOperationResult", "Whether there is a result", _results())


def _results() -> Part:
    return _responses(
        {
            303: "OperationSeeOther",
            404: "OperationUnknown",
            409: problem("It is not finished, or was cancelled.", "Retry-After"),
            410: "OperationExpired",
            500: problem("It failed."),
            "default": {"description": "The response of the route that has started it."},
        }
    )


def _cancel(settings: Settings) -> Part:
    responses = _responses(
        {
            200: state("It is cancelled."),
            202: accepted(settings, "It runs, and was asked to stop."),
            303: "OperationSeeOther",
            403: "OperationForbidden",
            404: "OperationUnknown",
            409: problem("It is finished already."),
        }
    )
    return _operation("cancelOperation", "Cancel an operation", responses)


def _events() -> Part:
    responses = _responses(
        {
            200: "OperationEvents",
            204: {"description": "The client has seen the end."},
            404: "OperationUnknown",
            410: "OperationExpired",
            503: "OperationRefused",
        }
    )
    summary = "What happens to an operation (Server-Sent Events)"
    return _operation("getOperationEvents", summary, responses, "LastEventId")


def _head_of_events() -> Part:
    responses = _responses(
        {
            200: {"description": "There are.", "headers": headers(*OF_STREAMS)},
            204: {"description": "The client has seen the end."},
            404: "OperationUnknown",
            410: "OperationExpired",
        }
    )
    return _operation("headOperationEvents", "Whether there are events", responses, "LastEventId")


def route(settings: Settings) -> Part:
    """Return what the operation object of an async route has beside the route's own."""
    refused: dict[int | str, Part | str] = {}
    if not settings.anonymous_operations:
        refused[401] = "OperationUnauthorized"
    return {
        "parameters": [
            reference("parameters", "Prefer"),
            reference("parameters", "IdempotencyKey"),
        ],
        "responses": _responses(
            {
                202: "OperationAccepted",
                303: {
                    "description": "The way for a browser, which prefers HTML.",
                    "headers": headers("Location", "Cache-Control", "Idempotent-Replayed"),
                },
                400: "OperationMalformed",
                **refused,
                409: "OperationDuplicate",
                413: "OperationTooLarge",
                415: "OperationUnsupported",
                422: "OperationKeyTaken",
                429: "OperationTooMany",
                500: problem_document("It failed while the client waited.", *_OF_WAITS),
                503: "OperationRefused",
            }
        ),
    }


def finished() -> Part:
    """Return the response of a route that says nothing of its own."""
    return {
        "description": "The result, if it is there within the time that the client waits.",
        "headers": headers(*OF_RESULTS, *_OF_WAITS),
    }
