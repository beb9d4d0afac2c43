"""The two documents that clients get: an operation and a problem, as JSON Schema.

They are written as OpenAPI 3.2 has it; ``for_version`` makes older ones of them.
"""

from __future__ import annotations

from typing import Any

from .tree import Part, changed

_ID_PATTERN = "^[0-9a-f]{32}$"


def _text(description: str, **more: Any) -> Part:
    return {"type": "string", "description": description, **more}


def _number(description: str, **more: Any) -> Part:
    return {"type": "number", "description": description, **more}


def _object(description: str, properties: dict[str, Part], **more: Any) -> Part:
    return {
        "type": "object",
        "description": description,
        "required": [*properties],
        "properties": properties,
        **more,
    }


def _or_null(schema: Part) -> Part:
    return {**schema, "type": [schema["type"], "null"]}


def _instant(description: str) -> Part:
    return _text(description, format="date-time")


def _link(description: str) -> Part:
    return _text(description, format="uri-reference")


def operation_id() -> Part:
    return {"type": "string", "pattern": _ID_PATTERN}


def problem(description: str = "What is wrong (RFC 9457).") -> Part:
    schema = _object(
        description,
        {
            "type": _link("`about:blank`: the problem is what its status says."),
            "title": _text("The phrase of the status."),
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": _text("What is wrong in this case."),
        },
    )
    schema["properties"] |= {
        "instance": _link("The operation that it is about."),
        "operation": _link("The operation that does the same already."),
    }
    return schema


def operation() -> Part:
    schema = _object(
        "Work that goes on after its request was answered.",
        {
            "id": operation_id(),
            "task": _text("The kind of work."),
            "status": _text(
                "One that is to be tried again is `queued`, see `next_attempt_at`.",
                enum=["queued", "running", "succeeded", "failed", "cancelled"],
            ),
            "done": {"type": "boolean", "description": "Whether nothing will change any more."},
            "created_at": _instant("When it was asked for."),
            "started_at": _or_null(_instant("When its latest attempt began.")),
            "finished_at": _or_null(_instant("When it ended.")),
            "attempt": {
                "type": "integer",
                "minimum": 0,
                "description": "The number of the latest attempt; 0 before the first.",
            },
            "max_attempts": {"type": "integer", "minimum": 1},
            "next_attempt_at": _or_null(_instant("When it is tried again.")),
            "progress": _or_null(_progress()),
            "result": {"description": "The result, if it is JSON and not too large."},
            "error": _or_null(problem("What it failed with.")),
            "expires_at": _or_null(_instant("Until when it can be asked for.")),
            "links": _links(),
        },
    )
    schema["properties"]["cancel_requested"] = {
        "type": "boolean",
        "description": "True if it runs and was asked to stop.",
    }
    return schema


def _progress() -> Part:
    return _object(
        "How far it has come.",
        {
            "current": _number("So much is done."),
            "total": _or_null(_number("Of so much; null while nobody knows.")),
            "percent": _or_null(_number("The same as a percentage.", minimum=0, maximum=100)),
            "message": _text("What is being done."),
            "updated_at": _or_null(_instant("When it was told.")),
        },
    )


def _links() -> Part:
    return _object(
        "Where its parts are, relative to this document.",
        {
            "self": _link("This document."),
            "cancel": _or_null(_link("Where to cancel it; null when it is done.")),
            "events": _or_null(_link("Where its events are; null if there are none.")),
            "result": _or_null(_link("Where the result is; null while there is none.")),
        },
    )


def event() -> Part:
    return _object(
        "A Server-Sent Event; `data` is the operation as it is then, or a line of its log.",
        {"id": _text("For `Last-Event-ID`."), "event": _text("Its kind."), "data": _text("JSON.")},
    )


def for_version(part: Part, version: str) -> Part:
    """Return *part* of a document as the OpenAPI of this *version* has it.

    3.2 has brought a schema for each item of a stream, and 3.1 a type for null, which was a
    property of the others before.
    """
    if not version.startswith(("3.0", "3.1")):
        return part
    part = changed(part, _before_3_2)
    return changed(part, _in_3_0) if version.startswith("3.0") else part


def _before_3_2(media_type: Part) -> Part:
    return {key: value for key, value in media_type.items() if key != "itemSchema"}


def _in_3_0(schema: Part) -> Part:
    match schema.get("type"):
        case [kind, "null"]:
            return {**schema, "type": kind, "nullable": True}
        case _:
            return schema
