"""What runs after a response runs after the client has it, whatever the server and the response.

Each response leaves a callback that waits until its client says that it has read the END. Were the
response held back until the callback is done, the two would wait for each other, and the callback
would record that it gave up.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from .client import Client, ConnectionEndedError, Response
from .events import Event, new_key
from .programs import HERE
from .servers import Server, each_server

pytestmark = pytest.mark.live

every_server = pytest.mark.parametrize("live", each_server(), indirect=True, scope="session")
some_servers = pytest.mark.parametrize(
    "live", each_server(smoke=True), indirect=True, scope="session"
)

BODIES = {
    "length": (200, b"x" * 1000),
    "nothing": (200, b""),
    "no-content": (204, b""),
    "stream": (200, b"one two three"),
    "file": (200, (HERE / "app.py").read_bytes()),
}


def ask_again(live: Server, client: Client, response: Response) -> str:
    """The answer to a second request: on the same connection, if the server left it open."""
    if response.reusable and live.config.keep_alive:
        return client.get("/pid").text
    client.close()
    with live.client() as another:
        return another.get("/pid").text


def meet(live: Server, method: str, kind: str, version: str) -> tuple[Response, Event]:
    """Read the response to its END, be answered again, and only then let the callback go on."""
    key = new_key()
    with live.client() as client:
        response = client.request(method, f"/kinds/{kind}/{key}", version=version)
        [began] = live.events.wait_for("callback-began", key=key)
        # A process that is being replaced is waited for: nobody answers until the gate is open.
        if live.config.recycles_after is None:
            ask_again(live, client, response)
        live.open_gate(key)
    [ended] = live.events.wait_for("callback-ended", key=key)
    assert ended.pid == began.pid
    return response, ended


@some_servers
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", BODIES)
def test_the_client_has_the_response_while_the_callback_waits(
    live: Server, kind: str, version: str
) -> None:
    """No kind of body is held back by what runs after it."""
    response, callback = meet(live, "GET", kind, version)
    assert callback["met"]
    assert response.complete
    assert (response.status, response.body) == BODIES[kind]


@every_server
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", ["length", "stream", "file"])
def test_the_response_to_head_is_not_held_back(live: Server, kind: str, version: str) -> None:
    """Some servers send the headers of an empty response only once it was closed."""
    response, callback = meet(live, "HEAD", kind, version)
    assert callback["met"]
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    "live",
    each_server(lambda config: config.keep_alive and not config.recycles_after, smoke=True),
    indirect=True,
    scope="session",
)
def test_the_same_connection_is_answered_meanwhile(live: Server) -> None:
    """Where connections are kept, the callback does not occupy the one that left it."""
    key = new_key()
    with live.client() as client:
        first = client.get(f"/kinds/length/{key}")
        live.events.wait_for("callback-began", key=key)
        assert first.reusable
        assert [client.get("/pid").status for _ in range(3)] == [200] * 3
        live.open_gate(key)
    [callback] = live.events.wait_for("callback-ended", key=key)
    assert callback["met"]


@every_server
@pytest.mark.parametrize(("kind", "status"), [("error", 500), ("abort", 503), ("raise", 500)])
def test_after_a_failed_response_only_always_runs(live: Server, kind: str, status: int) -> None:
    """A callback is for a success, unless it says ``always()``."""
    response, callback = meet(live, "GET", kind, "1.1")
    assert response.status == status
    assert callback["met"]
    assert not live.events.find("callback-ran", key=callback["key"])


@every_server
def test_after_a_body_that_broke_off_only_always_runs(live: Server) -> None:
    """An error in the middle of the body comes too late for the status, but not for callbacks."""
    key = new_key()
    # Granian may forget all that it has not sent yet, even the status.
    with live.client() as client, suppress(ConnectionEndedError):
        assert client.get(f"/kinds/broken/{key}").head.status == 200
    live.open_gate(key)
    [callback] = live.events.wait_for("callback-ended", key=key)
    assert callback["met"]
    assert not live.events.find("callback-ran", key=key)


@some_servers
def test_after_a_client_that_vanished_only_always_runs(live: Server) -> None:
    """What the client did not take is no success."""
    key = new_key()
    with live.client() as client:
        client.send("GET", f"/kinds/endless/{key}")
        assert client.read_head().status == 200
        assert client.read_some()
        client.disconnect()
    live.open_gate(key)
    [callback] = live.events.wait_for("callback-ended", key=key)
    assert callback["met"]
    assert not live.events.find("callback-ran", key=key)


@every_server
def test_standing_callbacks_run_once_after_each_response(live: Server) -> None:
    """Of the app for every response, of a blueprint for its own."""
    with live.client() as client:
        client.get("/pid")
    key = new_key()
    exchanges, kinds = (len(live.events.find(name)) for name in ("exchange", "kind"))
    with live.client() as client:
        client.get(f"/kinds/length/{key}")
        live.open_gate(key)
    live.events.wait_for("callback-ended", key=key)
    live.events.wait_for("exchange", count=exchanges + 1)
    live.events.wait_for("kind", count=kinds + 1)
