"""The components: schemas, parameters, headers and the responses that several routes share."""

from __future__ import annotations

from flask_later.config import Settings
from flask_later.web.operations.problems import MEDIA_TYPE

from . import schemas
from .tree import Part

_TEXT: Part = {"type": "string"}
#: An ``Idempotency-Key``, with and without quotes.
_KEY = r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\-.-:<-~]{1,255})$'
_SECONDS: Part = {"type": "integer", "minimum": 1}

#: Name -> what it says, and its schema.
_HEADERS: dict[str, tuple[str, Part]] = {
    "Accept": ("The media types that are taken.", _TEXT),
    "Cache-Control": ("Who may keep the answer.", _TEXT),
    "Content-Location": ("Where the answer can be found again.", _TEXT),
    "Content-Security-Policy": ("What the page may load: our files alone.", _TEXT),
    "ETag": ("Of this state of the operation, for `If-None-Match`.", _TEXT),
    "Idempotent-Replayed": ("`true`: the `Idempotency-Key` was used for this before.", _TEXT),
    "Location": ("Where to go on, relative to the host.", _TEXT),
    "Operation-Location": ("The same as `Location`, as an absolute URL.", _TEXT),
    "Preference-Applied": ("The preferences that were followed.", _TEXT),
    "Referrer-Policy": ("To whom the page sends its address: to no other site.", _TEXT),
    "Retry-After": ("Seconds after which to ask again.", _SECONDS),
    "Vary": ("The headers of the request on which the answer depends.", _TEXT),
    "WWW-Authenticate": ("That a login is needed.", _TEXT),
    "X-Accel-Buffering": ("`no`: no proxy is to hold events back.", _TEXT),
    "X-Content-Type-Options": ("`nosniff`.", _TEXT),
}
#: Name -> the operation of the document to which a 202 leads.
_LINKS = {
    "status": "getOperation",
    "result": "getOperationResult",
    "cancel": "cancelOperation",
    "delete": "deleteOperation",
}
#: The headers of a problem, and of a result.
OF_RESULTS = ("Cache-Control", "X-Content-Type-Options")
#: Those of an operation as it is.
OF_STATES = ("ETag", "Vary", *OF_RESULTS)
#: Those of a stream of events.
OF_STREAMS = ("X-Accel-Buffering", *OF_RESULTS)
#: Those that a page has besides.
OF_PAGES = ("Content-Security-Policy", "Referrer-Policy")


def reference(kind: str, name: str) -> Part:
    return {"$ref": f"#/components/{kind}/{name}"}


def headers(*names: str) -> Part:
    return {name: reference("headers", name) for name in names}


def components(settings: Settings) -> Part:
    """Return all of them, as OpenAPI 3.2 has it."""
    return {
        "schemas": {"Operation": schemas.operation(), "Problem": schemas.problem()},
        "parameters": _parameters(),
        "headers": {
            name: {"description": said, "schema": dict(schema)}
            for name, (said, schema) in _HEADERS.items()
        },
        "responses": _responses(settings),
    }


def _parameters() -> Part:
    return {
        "OperationId": {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": schemas.operation_id(),
        },
        "Prefer": {
            "name": "Prefer",
            "in": "header",
            "description": (
                "Preferences (RFC 7240): `respond-async`, and `wait=10` to wait so many seconds "
                "at most. What is unknown is ignored."
            ),
            "schema": dict(_TEXT),
            "example": "respond-async, wait=10",
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same request with the same key is the same operation.",
            "schema": {"type": "string", "pattern": _KEY},
            "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
        },
        "LastEventId": {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The id of the last event that the client has seen.",
            "schema": dict(_TEXT),
        },
        "IfNoneMatch": {
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` that the client has: 304 while it is still so.",
            "schema": dict(_TEXT),
        },
    }


def _responses(settings: Settings) -> Part:
    return {
        "OperationAccepted": _accepted(settings),
        "OperationSeeOther": {
            "description": "The way for a browser, which prefers HTML.",
            "headers": headers("Location", "Cache-Control"),
        },
        "OperationUnauthorized": problem("It is for known clients alone.", "WWW-Authenticate"),
        "OperationForbidden": problem("A page of another site has sent it."),
        "OperationUnknown": problem("There is none, or it is somebody else's."),
        "OperationDuplicate": problem("The same is being done already: see `operation`."),
        "OperationExpired": problem("It has expired, and its result is gone."),
        "OperationMalformed": problem("The body is not JSON, or a header is wrong."),
        "OperationKeyTaken": problem("The key was used for another request."),
        "OperationUnsupported": problem("The body is of a type that is not taken.", "Accept"),
        "OperationTooMany": problem("Too much of the client's own waits already.", "Retry-After"),
        "OperationTooLarge": problem("The request is too large."),
        "OperationEvents": {
            "description": "The events, as they come.",
            "headers": headers(*OF_STREAMS),
            "content": {"text/event-stream": {"itemSchema": schemas.event()}},
        },
        "OperationRefused": problem("Too much is being done already.", "Retry-After"),
    }


def _accepted(settings: Settings) -> Part:
    """Return the 202 of an async route, with which one finds the operation's other routes."""
    return {
        **accepted(
            settings,
            "It is being done: ask `Location` how it is.",
            "Preference-Applied",
            "Idempotent-Replayed",
        ),
        "links": {name: _link(target) for name, target in _LINKS.items()},
    }


def _link(target: str) -> Part:
    return {"operationId": target, "parameters": {"id": "$response.body#/id"}}


def accepted(settings: Settings, description: str, *more: str) -> Part:
    """Return a 202, with these headers beside those of each."""
    absolute = ("Operation-Location",) if settings.operation_location else ()
    return state(description, "Location", "Content-Location", "Retry-After", *absolute, *more)


def state(description: str, *more: str) -> Part:
    """Return a response that is the operation as it is."""
    return {
        "description": description,
        "headers": headers(*OF_STATES, *more),
        "content": {"application/json": {"schema": reference("schemas", "Operation")}},
    }


def problem(description: str, *more: str) -> Part:
    """Return a response that is a problem document, or a page for people."""
    response = problem_document(description, *OF_PAGES, *more)
    response["content"]["text/html"] = page()
    return response


def page() -> Part:
    return {"schema": dict(_TEXT)}


def problem_document(description: str, *more: str) -> Part:
    """Return a response that is a problem document, whoever asks."""
    return {
        "description": description,
        "headers": headers(*OF_RESULTS, *more),
        "content": {MEDIA_TYPE: {"schema": reference("schemas", "Problem")}},
    }
