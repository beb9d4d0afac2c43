"""What a client prefers: the ``Prefer`` header (RFC 7240), and HTML or JSON."""

from __future__ import annotations

from typing import NamedTuple

from flask import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_list_header

#: A header longer than this is no list of preferences.
_LONGEST = 1_000
_LONGEST_NUMBER = 6


class Preferences(NamedTuple):
    """The preferences that have a meaning here. Others are ignored, as the standard asks."""

    respond_async: bool = False
    #: Seconds that the client would wait for the end; None if it does not say.
    wait: int | None = None


NONE = Preferences()


def preferences_of(request: Request) -> Preferences:
    """Return what the client prefers. What cannot be read is no preference."""
    values = request.environ.get("HTTP_PREFER")
    if not values or len(values) > _LONGEST:
        return NONE
    given: dict[str, str] = {}
    for preference in parse_list_header(values):
        name, _, value = preference.partition(";")[0].partition("=")
        # Of what is said twice, the first counts, by the standard.
        given.setdefault(name.strip().lower(), value)
    return Preferences("respond-async" in given, _number(given.get("wait", "")))


def _number(text: str) -> int | None:
    text = text.strip(' "')
    if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER:
        return int(text)
    return None


def prefers_html(request: Request) -> bool:
    """Whether a person asks, in a browser: HTML is liked better than JSON."""
    header = request.environ.get("HTTP_ACCEPT", "")
    if "text/html" not in header:
        return False
    accepted: MIMEAccept = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]
