"""An app with async routes whose jobs run when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, request
from tests.shop import PATIENCE
from werkzeug.test import TestResponse

from flask_later import Later, current_job
from flask_later.testing import run_all

#: What the header of this name says is who asks.
USER = "X-User"


class Site:
    """One async route at ``/reports/<year>``; ``view`` adds others."""

    def __init__(self, **settings: Any) -> None:
        self.app = Flask("shop")
        self.app.testing = True
        self.app.config.update({f"LATER_{key}": value for key, value in settings.items()})
        self.later = Later(self.app)
        self.client = self.app.test_client()
        self.later.principal(lambda: request.headers.get(USER))
        #: What views wait for, so that no thread outlives the test.
        self.gates: list[threading.Event] = []
        #: How often the body of the report has run.
        self.reports = 0

        @self.app.post("/reports/<int:year>")
        @self.later.respond_async
        def report(year: int) -> dict[str, object]:
            self.reports += 1
            current_job.progress(1, 4, "reading")
            return {"year": year}

    def view(self, path: str, **options: Any) -> Callable[[Any], Any]:
        """Let an async view answer POST at *path*."""

        def add(view: Callable[..., Any]) -> Callable[..., Any]:
            route = self.later.respond_async(**options)(view)
            self.app.post(path)(route)
            return view

        return add

    def post(self, path: str = "/reports/2026", **kwargs: Any) -> TestResponse:
        return self.client.post(path, **kwargs)

    def start(self, path: str = "/reports/2026", user: str | None = None, **kwargs: Any) -> str:
        """Return where the operation is that a POST has started."""
        headers = {**kwargs.pop("headers", {}), **({USER: user} if user else {})}
        answer = self.post(path, headers=headers, **kwargs)
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def gated(self, path: str = "/gated") -> threading.Event:
        """Add an async view that ends, with its progress, once this is set."""
        gate = threading.Event()
        self.gates.append(gate)

        @self.view(path)
        def gated() -> dict[str, int]:
            gate.wait(PATIENCE)
            return {"a": 1}

        return gate

    def files(self) -> list[str]:
        """Return the names of the files that are kept for jobs."""
        store = self.app.extensions["later"].store
        folder = store.files.path("0" * 32, "any").parents[1]
        return sorted(path.name for path in folder.glob("*/*"))

    def run(self) -> int:
        return run_all(self.app)

    def result(self, path: str = "/reports/2026", **kwargs: Any) -> TestResponse:
        """Return what the client gets in the end."""
        where = self.start(path, **kwargs)
        self.run()
        return self.client.get(f"{where}/result")

    def document(self, where: str, user: str | None = None) -> dict[str, Any]:
        answer = self.client.get(where, headers={USER: user} if user else {})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.get_json()
        return document
