"""``Idempotency-Key``: the same request, sent again, is the same operation.

By draft-ietf-httpapi-idempotency-key-header-07. The key is held in the store as the job's unique
key, so that it is stored with the job in one commit, and for as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import BinaryIO

from flask import Request

from .problems import refuse

#: A string of structured fields (RFC 9651), or the same without quotes, as many send it.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--:<-~]+")
_LONGEST = 255


def key_of(request: Request) -> str | None:
    """Return the key that the client has sent. Refuses one that is malformed."""
    header: str | None = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return None
    key = _parsed(header.strip())
    if not key or len(key) > _LONGEST:
        refuse(
            400,
            f"The Idempotency-Key has to be a text in quotes, of 1 to {_LONGEST} characters of "
            f'ASCII: Idempotency-Key: "8e03978e-40d5-43e8-bc93-6894a57f9324"',
        )
    return key


def _parsed(header: str) -> str | None:
    quoted = _QUOTED.fullmatch(header)
    if quoted is not None:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    return header if _BARE.fullmatch(header) else None


def unique_key(principal: str | None, key: str) -> str:
    """Return what holds *key* in the store: each principal has keys of its own."""
    return f"idempotency-{_digest((repr(principal).encode(), key.encode()))}"


def fingerprint(request: Request, content_type: str, body: BinaryIO) -> str:
    """Return what is the same for the same request: by method, URL and body."""
    environ = request.environ
    target = "\0".join(
        environ.get(name, "")
        for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")
    )
    return _digest((target.encode("latin-1", "replace"), *_lines(content_type, body)))


def _lines(content_type: str, body: BinaryIO) -> Iterable[bytes]:
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if boundary is None:
        return body
    # A client that sends the form again draws another boundary.
    limit = b"--" + boundary[1].encode("latin-1", "replace")
    return (b"--" if line.startswith(limit) else line for line in body)


def _digest(parts: Iterable[bytes]) -> str:
    digest = sha256()
    for part in parts:
        digest.update(part)
        digest.update(b"\0")
    return digest.hexdigest()
