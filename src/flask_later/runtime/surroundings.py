"""What the server around us makes impossible, and how it is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from flask_later.core.store import Store


def complaints(environ: Mapping[str, Any], store: Store) -> Iterator[str]:
    """Yield what will not work here, each with what to do. *environ* is a request's."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and not getattr(uwsgi, "has_threads", True):
        yield (
            "uWSGI runs without threads: jobs, callbacks and services only move while a request "
            "is served. Set enable-threads = true."
        )
    if environ.get("mod_wsgi.application_group"):
        yield (
            "mod_wsgi runs this app in a sub-interpreter, where the process may die in the middle "
            "of its shutdown. Set WSGIApplicationGroup %{GLOBAL}."
        )
    if environ.get("wsgi.multiprocess") and store.reach == "process":
        yield (
            "Several processes serve this app, and each has a memory store of its own: a job is "
            "found in the process that enqueued it only. Set LATER_STORE = "
            "'sqlite:///later.sqlite3'."
        )


def ends_with_response(environ: Mapping[str, Any]) -> bool:
    """Whether this process is one of Werkzeug's ``processes=2``.

    It forks for each request, and the child ends with the response: a thread would be lost.
    """
    return (
        bool(environ.get("wsgi.multiprocess"))
        and not environ.get("wsgi.multithread")
        and str(environ.get("SERVER_SOFTWARE", "")).startswith("Werkzeug")
    )
