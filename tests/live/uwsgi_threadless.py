"""A uWSGI before 2.0.27 without ``--enable-threads``: this is all that the app sees of that."""

from __future__ import annotations

import uwsgi

uwsgi.has_threads = 0

from app import create_app  # noqa: E402

application = create_app()
