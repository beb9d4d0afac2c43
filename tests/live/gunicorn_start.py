"""The line of gunicorn's configuration with which a worker begins before its first request."""

from __future__ import annotations

from app import later


def post_worker_init(worker):
    later.start(worker.wsgi)
