"""The live tests would notice what they are there to notice."""

from __future__ import annotations

import pytest

from .conftest import Run

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("server", "method", "path", "version"),
    [
        ("waitress", "GET", "/empty", "1.1"),
        ("waitress", "HEAD", "/length", "1.1"),
        ("uwsgi-lazy", "GET", "/stream", "1.1"),
        ("gunicorn-sync", "GET", "/stream", "1.0"),
    ],
)
def test_a_response_that_was_held_back_is_noticed(
    run: Run, server: str, method: str, path: str, version: str
) -> None:
    """A callback that runs while the server closes the response never meets its client."""
    live = run(server, module="naive", LIVE_PATIENCE=0.5)
    with live.client() as client:
        response = client.request(method, path, version=version)
    live.open_gate("naive")
    [callback] = live.events.wait_for("callback-ended")
    assert response.complete
    assert not callback["met"]


@pytest.mark.parametrize("server", ["werkzeug", "gunicorn-gthread", "waitress"])
def test_a_response_that_was_not_held_back_is_seen_to_its_end(run: Run, server: str) -> None:
    """Where the server sends everything first, even a naive callback meets its client."""
    live = run(server, module="naive", LIVE_PATIENCE=20)
    with live.client() as client:
        response = client.get("/length")
        live.open_gate("naive")
    [callback] = live.events.wait_for("callback-ended")
    assert response.text == "hello"
    assert callback["met"]
