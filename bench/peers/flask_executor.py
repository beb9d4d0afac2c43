"""Flask-Executor: ThreadPoolExecutor, with copies of the request's and the app's context."""

from __future__ import annotations

from flask import Flask
from flask_executor import Executor

from . import Job
from .tpe import fill


class FlaskExecutor:
    def __init__(self, threads: int, job: Job) -> None:
        app = Flask("bench")
        app.config["EXECUTOR_MAX_WORKERS"] = threads
        self._executor = Executor(app)
        # It refuses to submit outside of a request.
        self._context = app.test_request_context()
        self._context.push()
        fill(self._executor.submit, threads)
        self.submit = self._executor.job(job).submit

    def stop(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        self._context.pop()
