"""Events of an operation, as a stream that browsers read (Server-Sent Events, WHATWG HTML §9.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from flask import Request, Response

from flask_later.core.job import FINISHED, Glance, JobRecord, LogLine
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.tasks.state import AppState

from .answers import nothing, whole
from .document import Links, document, etag, instant, links
from .operation import Operation
from .problems import BUSY, problem
from .waiting import Places

#: Seconds after which a stream ends and the browser comes again: less than servers give a request.
_LASTS = 25.0
#: Seconds after which something is said, so that a client that left is noticed.
_PING_EVERY = 15.0
#: Seconds between two looks; progress is stored twice a second.
_LOOK_EVERY = 0.5
#: Milliseconds after which a browser comes again.
_RETRY = 2_000
#: Log lines told at a time.
_LINES = 100
_LONGEST_ID = 200


class Seen(NamedTuple):
    """What a client has seen: the id of an event says it, and comes back with the client."""

    line: int = 0
    etag: str = ""
    #: Of the document at its last event, without its progress.
    state: str = ""

    @property
    def event_id(self) -> str:
        return f"{self.line}:{self.etag}"


class Events:
    """The streams of one process; each holds a thread of the server."""

    def __init__(self) -> None:
        self._places = Places()

    def respond(self, state: AppState, request: Request, operation: Operation) -> Response:
        """Return the stream, from where the client has left off."""
        seen = _seen(request.environ.get("HTTP_LAST_EVENT_ID", ""))
        if operation.is_done and seen.etag == etag(operation.record):
            # The one answer upon which a browser does not come again.
            return nothing()
        if request.method == "HEAD":
            return _stream(iter(()))
        if operation.is_done:
            operation = whole(state, operation)
        place = self._places.take(operation.owner, state.settings.max_streams)
        if place is None:
            detail = "As many clients follow operations as may. Ask for the status instead."
            return problem(503, detail, BUSY)
        stream = Stream(state, operation, links(request, state.settings, operation.id), seen)
        response = _stream(stream.events())
        response.call_on_close(place)
        return response


def _stream(events: Iterator[str]) -> Response:
    response = Response(events, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _seen(text: str) -> Seen:
    """Return what a ``Last-Event-ID`` says; one that is not ours says nothing."""
    line, colon, known = text.partition(":")
    if not colon or len(text) > _LONGEST_ID or not (line.isascii() and line.isdecimal()):
        return Seen()
    return Seen(int(line), known)


class Stream:
    """What one client is told."""

    def __init__(self, state: AppState, operation: Operation, where: Links, seen: Seen) -> None:
        self._state = state
        self._operation = operation
        self._where = where
        self._seen = seen

    def events(self) -> Iterator[str]:
        """Yield what is new, until the operation has ended or the time is over."""
        clock = self._state.clock
        began = said = clock.monotonic()
        yield f"retry: {_RETRY}\n\n"
        while True:
            for event in self._news():
                said = clock.monotonic()
                yield event
            now = clock.monotonic()
            if now - said >= _PING_EVERY:
                said = now
                yield ": ping\n\n"
            if self._operation.is_done or now - began >= _LASTS or not self._look():
                return

    def _look(self) -> bool:
        """Wait a moment and look again; returns False if nothing is to come any more."""
        store = self._state.store
        lifecycle: Lifecycle = self._state.app.extensions[LIFECYCLE_KEY]
        if self._state.parts.manual or lifecycle.is_stopped:
            return False
        store.wait((self._operation.id,), _LOOK_EVERY)
        record: JobRecord | Glance | None = store.glance(self._operation.id)
        if record is not None and record.state in FINISHED:
            record = store.get([record.id]).get(record.id)
        if record is None:
            return False
        self._operation = self._operation._replace(record=record)
        return True

    def _news(self) -> Iterator[str]:
        # The lines first: what is said at the end is the end.
        while lines := self._state.store.log(self._operation.id, self._seen.line, _LINES):
            for line in lines:
                self._seen = self._seen._replace(line=line.id)
                yield self._event("log", _line(line))
        known = etag(self._operation.record)
        if known != self._seen.etag:
            name = self._name(self._operation.record)
            state = _state_of(self._operation.record)
            self._seen = self._seen._replace(etag=known, state=state)
            yield self._event(name, document(self._state, self._operation, self._where))

    def _name(self, record: JobRecord | Glance) -> str:
        if self._operation.is_done:
            return "end"
        return "progress" if self._seen.state == _state_of(record) else "state"

    def _event(self, name: str, data: object) -> str:
        text = json.dumps(data, separators=(",", ":"))
        return f"id: {self._seen.event_id}\nevent: {name}\ndata: {text}\n\n"


def _state_of(record: JobRecord | Glance) -> str:
    """Return what an event of progress leaves as it is."""
    return etag(record._replace(progress=None))


def _line(line: LogLine) -> dict[str, object]:
    return {"id": line.id, "at": instant(line.at), "message": line.message}
