"""Flask-Later in the process that enqueues: on its memory store, and on SQLite for profiles."""

from __future__ import annotations

import shutil

from flask import Flask

from flask_later import Later
from flask_later.config import Settings

from . import Job


class Ours:
    """Enqueues in an app context, as a command or a job does."""

    def __init__(self, threads: int, job: Job) -> None:
        app = Flask("bench")
        app.config.update(
            **self._settings(),
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

    def _settings(self) -> dict[str, str]:
        return {"LATER_STORE": "memory://"}

    def _make_context(self, app: Flask):
        return app.app_context()

    def stop(self) -> None:
        self._later.stop(self._app)
        self._context.pop()


class OursInRequest(Ours):
    """Enqueues in a request, whose base URL and ids cross over to the job."""

    def _make_context(self, app: Flask):
        return app.test_request_context()


class OursPower(Ours):
    """Jobs in a file of its own, on the disk of the checkout."""

    durability = "power"

    def _settings(self) -> dict[str, str]:
        from bench.durable.rig import make_folder

        self._folder = make_folder()
        settings = {"LATER_STORE": f"sqlite:///{self._folder}/queue.sqlite3"}
        if hasattr(Settings, "durability"):
            settings["LATER_DURABILITY"] = self.durability
        return settings

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class OursProcess(OursPower):
    durability = "process"
