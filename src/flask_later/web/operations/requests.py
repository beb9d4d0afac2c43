"""A request as a stored value, and back: what of it a view in a job sees."""

from __future__ import annotations

import sys
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import urlencode

from flask import Request
from werkzeug.test import stream_encode_multipart

from flask_later.config import Settings
from flask_later.core.store import Store

from .json_check import require_json
from .problems import refuse

#: What the request is, beside its headers.
_KEPT = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "wsgi.url_scheme",
)
#: The headers that cross over. Cookies and ``Authorization`` never do.
_HEADERS = (
    "HTTP_HOST",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_CONTENT_ENCODING",
    "HTTP_CONTENT_LANGUAGE",
    "HTTP_ORIGIN",
    "HTTP_REFERER",
    "HTTP_TRACEPARENT",
    "HTTP_TRACESTATE",
    "HTTP_USER_AGENT",
    "HTTP_X_REQUESTED_WITH",
    "HTTP_X_REQUEST_ID",
)
#: The file of a job in which a large body is.
_FILE = "request"
#: Bytes up to which a body is stored with the job itself.
_SMALL = 64 * 1024
_CHUNK = 64 * 1024

Stored = Mapping[str, Any]


class Body(NamedTuple):
    """A body, in the memory or in a file of the job."""

    content_type: str
    size: int
    data: bytes | None

    @contextmanager
    def opened(self, store: Store, job_id: str) -> Generator[BinaryIO]:
        data = self.data
        with store.files.open(job_id, _FILE) if data is None else BytesIO(data) as stream:
            yield stream


def read_body(
    request: Request,
    settings: Settings,
    store: Store,
    job_id: str,
    accepts: Collection[str] | None,
) -> Body:
    """Read the body, and keep a large one as a file of the job, which is not stored yet.

    :param accepts: the media types that the view takes; None for any.
    :raises HTTPException: if it is too large, of another type, or not the JSON that it says.
    """
    if request.max_content_length is None:
        request.max_content_length = settings.max_request
    if accepts is not None:
        _require_type(request, accepts)
    small = min(_SMALL, settings.max_arguments // 2)
    content_type = request.content_type or ""
    if _was_parsed(request):
        content_type, stream = _encoded_again(request)
    elif request.is_json or _is_at_hand(request, small):
        data = request.get_data()
        if request.is_json and data:
            require_json(data)
        stream = BytesIO(data)
    else:
        stream = request.stream
    head = _read(stream, small + 1)
    if len(head) <= small:
        return Body(content_type, len(head), head)
    counted = _Counted(head, stream)
    store.files.put(job_id, _FILE, counted)
    return Body(content_type, counted.size, None)


def _require_type(request: Request, accepts: Collection[str]) -> None:
    """Refuse a body of another type, and one whose type nobody says. No body has none."""
    if request.mimetype in accepts or not (request.content_type or _has_body(request)):
        return
    refuse(415, f"It has to be {' or '.join(accepts)}.", {"Accept": ", ".join(accepts)})


def _has_body(request: Request) -> bool:
    return bool(request.content_length) or request.environ.get("HTTP_TRANSFER_ENCODING") is not None


class _Counted:
    """The pieces of a stream, and how many bytes they were."""

    def __init__(self, head: bytes, stream: Any) -> None:
        self._head = head
        self._stream = stream
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        chunk = self._head
        while chunk:
            self.size += len(chunk)
            yield chunk
            chunk = self._stream.read(_CHUNK)


def _read(stream: Any, size: int) -> bytes:
    """Read up to *size* bytes; a stream may give fewer at a time."""
    data = b""
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    return data


def _is_at_hand(request: Request, small: int) -> bool:
    """Whether the body is in the memory already, or may be."""
    length = request.content_length
    was_read = getattr(request, "_cached_data", None) is not None
    return was_read or (length is not None and length <= small)


def _was_parsed(request: Request) -> bool:
    """Whether somebody has read the form before us, so that nothing is left of the stream."""
    if "form" not in vars(request) or getattr(request, "_cached_data", None):
        return False
    return bool(request.form or request.files)


def _encoded_again(request: Request) -> tuple[str, Any]:
    """Return the type and the stream of a body that says the same as the parsed one."""
    if request.mimetype == "application/x-www-form-urlencoded":
        pairs = [*request.form.items(multi=True)]
        return request.content_type or "", BytesIO(urlencode(pairs).encode("ascii"))
    values = [*request.form.items(multi=True), *request.files.items(multi=True)]
    fields: dict[str, list[Any]] = {}
    for name, value in values:
        fields.setdefault(name, []).append(value)
    stream, _, boundary = stream_encode_multipart(fields)
    return f'multipart/form-data; boundary="{boundary}"', stream


def stored(request: Request, body: Body, more: Collection[str] = ()) -> Stored:
    """Return *request* as a value that can be stored.

    :param more: keys of the environ that cross over beside the usual ones.
    """
    environ = request.environ
    kept = {key: environ[key] for key in (*_KEPT, *_HEADERS, *more) if key in environ}
    if body.content_type:
        kept["CONTENT_TYPE"] = body.content_type
    return {"environ": kept, "size": body.size, "body": body.data}


@contextmanager
def environ_of(value: Stored, store: Store, job_id: str) -> Generator[dict[str, Any]]:
    """Give the WSGI environ of an equal request; its body can be read as long as this lasts."""
    environ = cast("dict[str, Any]", value["environ"])
    body = Body(environ.get("CONTENT_TYPE", ""), value["size"], value["body"])
    with body.opened(store, job_id) as stream:
        yield {
            **environ,
            "CONTENT_LENGTH": str(body.size),
            "wsgi.version": (1, 0),
            "wsgi.input": stream,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
