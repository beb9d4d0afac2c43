"""The files that pages load: a style sheet and two ES modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flask import Response, abort, send_from_directory

_FOLDER = Path(__file__).parent / "static"
#: By name, and not what the system takes a suffix for: Windows may say that ``.js`` is plain text,
#: and no browser runs that.
_FILES: Mapping[str, str] = {
    "later-follow.js": "text/javascript",
    "page.css": "text/css",
    "page.js": "text/javascript",
}


def serve(filename: str) -> Response:
    """Return one of them."""
    if filename not in _FILES:
        abort(404)
    response = send_from_directory(_FOLDER, filename, mimetype=_FILES[filename], max_age=_no_age)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _no_age(filename: str | None) -> None:
    """Let browsers ask each time whether it has changed, so that no versions are mixed."""
