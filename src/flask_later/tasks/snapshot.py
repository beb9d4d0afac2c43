"""What crosses over from a request to the jobs it enqueues: small, declared, inspectable.

A request context is never copied: the copy shares the request and closes its files. Cookies and
``Authorization`` are never part of a snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, cast

from flask import has_request_context

from flask_later.core import payload
from flask_later.errors import NameTakenError
from flask_later.tasks.place import place_of
from flask_later.tasks.state import get_request

EMPTY = "{}"
#: A header longer than this is not an id, and is not kept.
_LONGEST_ID = 200
#: A snapshot is stored with every job, so it has to stay small.
_MAX_BYTES = 16 * 1024


class Carrier(NamedTuple):
    """Something of the app's own that crosses over: see :meth:`flask_later.Later.carry`."""

    name: str
    capture: Callable[[], Any]
    restore: Callable[[Any], None]

    @property
    def places(self) -> tuple[str, str]:
        return place_of(self.capture), place_of(self.restore)


class Carriers:
    """The carriers of one ``Later``, in the order they were added."""

    def __init__(self) -> None:
        self._by_name: dict[str, Carrier] = {}

    def add(self, carrier: Carrier) -> None:
        """Take up *carrier*. One from the same place replaces the one before, as with tasks.

        :raises NameTakenError: if another one has its name.
        """
        known = self._by_name.get(carrier.name)
        if known is not None and known.places != carrier.places:
            raise NameTakenError("carry", carrier.name, known.places[0], carrier.places[0])
        self._by_name[carrier.name] = carrier

    def capture(self) -> dict[str, object]:
        """Return what each carrier captures now; None means nothing to carry."""
        captured = {name: carrier.capture() for name, carrier in self._by_name.items()}
        return {name: value for name, value in captured.items() if value is not None}

    def restore(self, carried: Mapping[str, object]) -> None:
        """Give back what crossed over. What no carrier claims any more is passed over."""
        for name, value in carried.items():
            if name in self._by_name:
                self._by_name[name].restore(value)

    def __bool__(self) -> bool:
        return bool(self._by_name)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a job knows of the request that enqueued it."""

    #: Scheme, host and script root, so that ``url_for(_external=True)`` works.
    base_url: str | None = None
    #: ``X-Request-ID``, so that the logs of both can be joined.
    request_id: str | None = None
    #: W3C Trace Context, ``traceparent``.
    traceparent: str | None = None
    #: The language that the client likes best, a BCP 47 tag.
    locale: str | None = None
    #: The values of :meth:`flask_later.Later.carry`.
    carried: Mapping[str, object] = field(default_factory=dict[str, object])
    #: What makes the job an operation that clients may follow; jobs that it enqueues are none.
    operation: Mapping[str, object] | None = None


NO_REQUEST = Snapshot()


def capture(
    carriers: Carriers, inherited: Snapshot, operation: Mapping[str, object] | None = None
) -> str:
    """Return the snapshot of the present as JSON text.

    Inside a request it is the request's; inside a job it is *inherited* from that job.
    """
    if has_request_context():
        facts = _of_request()
    elif inherited is NO_REQUEST and not carriers:
        return EMPTY
    else:
        facts = _of_job(inherited)
    if carriers and (carried := carriers.capture()):
        facts["carried"] = carried
    if operation is not None:
        facts["operation"] = operation
    if not facts:
        return EMPTY
    return payload.dumps(facts, where="what Later.carry captured", max_bytes=_MAX_BYTES)


def made_operation(text: str, operation: Mapping[str, object]) -> str:
    """Return the snapshot *text* as that of an operation."""
    facts = json.loads(text)
    facts["operation"] = operation
    return json.dumps(facts, separators=(",", ":"))


@lru_cache(256)
def operation_of(text: str) -> Mapping[str, Any] | None:
    """Return what makes the job of the snapshot *text* an operation; None if it is none.

    It is plain JSON. Polls ask this again and again, and need nothing else of it.
    """
    operation = json.loads(text).get("operation") if '"operation":' in text else None
    return cast("dict[str, Any]", operation) if isinstance(operation, dict) else None


def load(text: str) -> Snapshot:
    """Read a snapshot; keys that a newer version wrote are passed over."""
    if text == EMPTY:
        return NO_REQUEST
    facts = payload.loads(text)
    if not isinstance(facts, dict):
        return NO_REQUEST
    known = cast("dict[str, Any]", facts)
    return Snapshot(**{key: known[key] for key in Snapshot.__slots__ if key in known})


def _of_request() -> dict[str, object]:
    current = get_request()
    environ = current.environ  # request.headers takes ten times as long
    facts: dict[str, object] = {}
    # Werkzeug 3.1.0 raises where the client's Host header is no host; later ones do not.
    with suppress(ValueError):
        facts["base_url"] = current.root_url
    for fact, header in (("request_id", "HTTP_X_REQUEST_ID"), ("traceparent", "HTTP_TRACEPARENT")):
        value = environ.get(header)
        if value and len(value) <= _LONGEST_ID:
            facts[fact] = value
    if "HTTP_ACCEPT_LANGUAGE" in environ and current.accept_languages.best:
        facts["locale"] = current.accept_languages.best[:_LONGEST_ID]
    return facts


def _of_job(inherited: Snapshot) -> dict[str, object]:
    names = ("base_url", "request_id", "traceparent", "locale")
    facts = {name: getattr(inherited, name) for name in names}
    return {name: value for name, value in facts.items() if value is not None}
