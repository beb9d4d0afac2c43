"""Flask-Later on its memory store."""

from __future__ import annotations

from flask import Flask

from flask_later import Later

from . import Job


class Ours:
    """Enqueues in an app context, as a command or a job does."""

    def __init__(self, threads: int, job: Job) -> None:
        app = Flask("bench")
        app.config.update(
            LATER_STORE="memory://",
            LATER_THREADS=threads,
            LATER_MANUAL=False,
            LATER_MAX_PENDING=1_000_000,
        )
        self._app = app
        self._later = Later(app)
        self.submit = self._later.task(job).enqueue
        self._later.start(app)
        self._context = self._make_context(app)
        self._context.push()

    def _make_context(self, app: Flask):
        return app.app_context()

    def stop(self) -> None:
        self._later.stop(self._app)
        self._context.pop()


class OursInRequest(Ours):
    """Enqueues in a request, whose base URL and ids cross over to the job."""

    def _make_context(self, app: Flask):
        return app.test_request_context()
