"""A view's response as a stored value, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from flask import Flask, Request, Response

from flask_later.config import Settings
from flask_later.core import payload
from flask_later.core.retry import Failure
from flask_later.core.store import Store

#: Headers that are no part of what the view made, but of one connection or one client.
_LEFT_OUT = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "server",
        "set-cookie",
        "transfer-encoding",
    }
)
#: Bytes up to which a body is stored with the job itself.
_SMALL = 64 * 1024
_CHUNK = 64 * 1024


class StoredResponse(NamedTuple):
    """What a view answered: all that the client would have got, but for cookies."""

    status: int
    headers: list[tuple[str, str]]
    size: int
    #: The body, or None if it is in the file.
    body: bytes | None
    file: str | None = None
    #: What its author says of the error that it tells of, if that was an HTTP error with a text.
    detail: str | None = None

    @property
    def media_type(self) -> str:
        types = (value for name, value in self.headers if name.lower() == "content-type")
        return next(types, "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        return self.media_type == "application/json" or self.media_type.endswith("+json")

    def value(self) -> dict[str, object]:
        """Return what the job's result is."""
        return {**self._asdict(), "headers": [[*each] for each in self.headers]}


def stored(
    response: Response,
    chunks: Iterable[bytes],
    settings: Settings,
    store: Store,
    job_id: str,
    file: str,
) -> StoredResponse:
    """Read *response*, whose body is *chunks*, to its end; a large one becomes a file of the job.

    :raises Failure: above ``LATER_MAX_RESPONSE``.
    """
    headers = [(name, value) for name, value in response.headers if name.lower() not in _LEFT_OUT]
    body = _Body(chunks, settings.max_response)
    head = body.head(min(_SMALL, settings.max_result // 2))
    if body.is_read:
        return StoredResponse(response.status_code, headers, len(head), head)
    store.files.put(job_id, file, body)
    return StoredResponse(response.status_code, headers, body.size, None, file)


class _Body:
    """The body of a response: first its head, then all of it."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks = iter(chunks)
        self._limit = limit
        self._head = b""
        self.size = 0
        self.is_read = False

    def head(self, small: int) -> bytes:
        """Return the first bytes, more than *small* unless there are no more."""
        head = bytearray()
        while len(head) <= small:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.is_read = True
                break
            head += self._counted(chunk)
        self._head = bytes(head)
        return self._head

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        for chunk in self._chunks:
            yield self._counted(chunk)

    def _counted(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        if self.size > self._limit:
            raise Failure(
                f"The response of the view has more than {self._limit:,} bytes, which is the limit."
            )
        return chunk


#: Stands for a result that cannot be read, such as one whose file is gone.
LOST = StoredResponse(410, [], 0, b"")


def load(text: str) -> StoredResponse:
    """Return the response that a job's result is, or :data:`LOST`."""
    try:
        value = cast("dict[str, Any]", payload.loads(text))
        value["headers"] = [(name, text) for name, text in value["headers"]]
        return StoredResponse(**value)
    except (ValueError, TypeError, KeyError):
        return LOST


def respond(
    app: Flask, request: Request, answer: StoredResponse, store: Store, job_id: str
) -> Response:
    """Return *answer* for a client, which may want a part of it only.

    :raises OSError: if its file is gone.
    """
    if answer.file is None:
        response = app.response_class(answer.body, answer.status, answer.headers)
    else:
        stream = store.files.open(job_id, answer.file)
        response = app.response_class(_pieces(stream), answer.status, answer.headers)
        response.call_on_close(stream.close)
        response.content_length = answer.size
    if answer.status == 200:
        response.make_conditional(request, accept_ranges=True, complete_length=answer.size)
    return response


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk
