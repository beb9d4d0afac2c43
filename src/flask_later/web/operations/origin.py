"""Where a request that changes something comes from: another site's page must not send it."""

from __future__ import annotations

from collections.abc import Collection

from flask import Request

from .problems import refuse


def require_own_origin(request: Request, trusted: Collection[str]) -> None:
    """Refuse what a page of another site has sent with the cookies of this one.

    Browsers say where a request comes from, and no page can make them say something else. What is
    no browser says nothing, and has nobody's cookies.
    """
    environ = request.environ
    site: str | None = environ.get("HTTP_SEC_FETCH_SITE")
    origin: str | None = environ.get("HTTP_ORIGIN")
    if site == "same-origin" or origin in trusted:
        return
    if site is None and (origin is None or origin.partition("://")[2] == request.host):
        return
    refuse(403, "A page of another site may not do that. Its origin: LATER_TRUSTED_ORIGINS.")
