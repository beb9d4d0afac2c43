"""gunicorn reads this file by itself when it is started in this folder."""

from __future__ import annotations

workers = 2
threads = 4


def post_worker_init(worker):
    """Begin to work before the first request: jobs may wait from before the start."""
    from tasks import later

    later.start(worker.wsgi)
