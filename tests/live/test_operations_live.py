"""Operations under real servers, by raw HTTP, on the SQLite store."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from typing import Any

import pytest

from .client import Client, Response
from .conftest import Run
from .events import new_key, wait_until
from .servers import Server, each_server

pytestmark = pytest.mark.live

#: Two processes, so that polls meet the one that did not start the operation; and the others that
#: the docs speak of.
some_servers = pytest.mark.parametrize(
    "live",
    each_server(lambda config: config.name in ("gunicorn-2-workers", "waitress", "uwsgi")),
    indirect=True,
    scope="session",
)


def ask(live: Server, method: str, path: str, **options: Any) -> Response:
    """Ask on a connection of its own, which may meet any of the processes."""
    with live.client() as client:
        return client.request(method, path, **options)


def start(live: Server, path: str, **options: Any) -> str:
    answer = ask(live, "POST", path, **options)
    assert answer.status == 202, answer
    return answer.head.headers["location"]


def document(live: Server, where: str) -> dict[str, Any]:
    answer = ask(live, "GET", where)
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.text)
    return found


def finished(live: Server, where: str) -> dict[str, Any]:
    return wait_until(
        lambda: found if (found := document(live, where))["done"] else None, f"{where} is done"
    )


@some_servers
def test_an_operation_from_its_start_to_its_end(live: Server) -> None:
    """Every process answers for it."""
    key = new_key()
    where = start(live, f"/async/gated/{key}", headers={"Prefer": "respond-async"})
    wait_until(lambda: document(live, where)["status"] == "running", "it runs")
    early = ask(live, "GET", f"{where}/result")
    assert (early.status, early.head.headers["retry-after"]) == (409, "1")
    met: set[str] = set()

    def poll() -> bool:
        answer = ask(live, "GET", where)
        known = answer.head.headers["etag"]
        again = ask(live, "GET", where, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
        met.add(again.head.headers["x-pid"])
        return len(met) == live.config.processes

    wait_until(poll, lambda: f"all processes have answered a poll, not only {met}")
    live.open_gate(key)
    found = finished(live, where)
    assert (found["status"], found["result"]["met"]) == ("succeeded", True)
    for _ in range(2 * live.config.processes):
        result = ask(live, "GET", f"{where}/result")
        assert (result.status, json.loads(result.text)["met"]) == (200, True)
    assert ask(live, "DELETE", where).status == 204
    assert ask(live, "GET", where).status == 404


@some_servers
def test_a_large_body_crosses_over_to_any_process(live: Server) -> None:
    """From a client that sends it in one go."""
    body = os.urandom(300_000)
    where = start(live, "/async/echo/a?x=1", body=body)
    assert finished(live, where)["result"] == {"key": "a", "size": 300_000, "x": "1"}


@some_servers
def test_the_same_request_meets_the_same_operation(live: Server) -> None:
    """Whoever answers it; a client that was gone before it was answered sends it again."""
    headers = {"Idempotency-Key": f'"{new_key()}"'}
    with live.client() as client:
        client.send("POST", "/async/echo/a", headers=headers)
        client.disconnect()
    answers = [ask(live, "POST", "/async/echo/a", headers=headers) for _ in range(6)]
    assert {answer.status for answer in answers} == {202}
    assert len({answer.head.headers["location"] for answer in answers}) == 1
    finished(live, answers[0].head.headers["location"])


@some_servers
def test_a_client_that_waits_is_told_the_end(live: Server) -> None:
    """At once, whichever process has brought it about."""
    quick = ask(live, "POST", "/async/echo/a", headers={"Prefer": "wait=10"})
    assert (quick.status, json.loads(quick.text)["key"]) == (200, "a")
    key = new_key()
    where = start(live, f"/async/gated/{key}")
    with live.client() as client:
        client.send("GET", where, headers={"Prefer": "wait=10"})
        live.events.wait_for("view-began", key=key)
        live.open_gate(key)
        answer = client.read()
    assert json.loads(answer.text)["done"]


@some_servers
def test_a_running_operation_is_cancelled(live: Server) -> None:
    """By any process; it ends at its next step."""
    where = start(live, f"/async/chatty/{new_key()}")
    wait_until(lambda: document(live, where)["status"] == "running", "it runs")
    assert ask(live, "POST", f"{where}/cancel").status == 202
    assert finished(live, where)["status"] == "cancelled"
    assert ask(live, "POST", f"{where}/cancel").status == 409


@some_servers
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["", "/result", "/cancel", "/events"])
def test_head_and_options_have_no_body(live: Server, method: str, path: str) -> None:
    """Nor an effect; the connection goes on."""
    where = start(live, "/async/echo/a")
    with live.client() as client:
        answer = client.request(method, where + path, headers={"Prefer": "wait=10"})
        assert (answer.body, answer.complete) == (b"", True)
        if answer.reusable and live.config.keep_alive:
            assert client.get("/pid").status == 200
    assert finished(live, where)["status"] == "succeeded"


def test_a_worker_that_is_killed_in_the_middle(run: Run) -> None:
    """Another runs the view again, and the client sees it succeed."""
    live = run("gunicorn-2-workers")
    key = new_key()
    where = start(live, f"/async/gated/{key}")
    [began] = live.events.wait_for("view-began", key=key)
    os.kill(began.pid, signal.SIGKILL)
    live.events.wait_for("view-began", count=2, key=key)
    live.open_gate(key)
    found = finished(live, where)
    assert (found["status"], found["attempt"]) == ("succeeded", 2)
    assert found["result"]["by"] != began.pid


def test_a_client_that_leaves_a_long_poll_leaves_no_thread_behind(run: Run) -> None:
    """Its place is free when its time is over."""
    live = run("gunicorn-gthread", max_wait=1)
    where = start(live, f"/async/gated/{new_key()}")
    for _ in range(3):
        with live.client() as client:
            client.send("GET", where, headers={"Prefer": "wait=1"})
            client.disconnect()

    def has_place() -> bool:
        answer = ask(live, "GET", where, headers={"Prefer": "wait=1"})
        return answer.head.headers.get("preference-applied") == "wait=1"

    wait_until(has_place, "a place to wait is free again")


def test_a_client_that_leaves_a_stream_leaves_no_thread_behind(run: Run) -> None:
    """It is noticed at the next event."""
    live = run("gunicorn-gthread", events="true", max_streams=1)
    where = start(live, f"/async/chatty/{new_key()}")
    with live.client() as client:
        client.send("GET", f"{where}/events")
        assert client.read_head().status == 200
        assert ask(live, "GET", f"{where}/events").status == 503
        client.disconnect()

    def is_open() -> bool:
        with live.client() as client:
            client.send("GET", f"{where}/events")
            return client.read_head().status == 200

    wait_until(is_open, "a stream can be opened again")


def read_until(client: Client, what: bytes) -> bytes:
    text = b""
    while what not in text:
        piece = client.read_some()
        assert piece, text
        text += piece
    return text


@pytest.mark.parametrize("name", ["gunicorn-2-workers", "waitress", "uwsgi"])
def test_a_stream_tells_to_the_end(run: Run, name: str) -> None:
    """Each event as it comes, not when the response is complete."""
    live = run(name, events="true")
    key = new_key()
    where = start(live, f"/async/chatty/{key}")
    with live.client() as client:
        client.send("GET", f"{where}/events")
        head = client.read_head()
        assert head.headers["content-type"].startswith("text/event-stream")
        text = read_until(client, b"event: log")
        live.open_gate(key)
        text += read_until(client, b"event: end")
    assert text.index(b"retry: ") < text.index(b"event: ")


@pytest.mark.parametrize(("name", "many"), [("gunicorn-gthread", 200), ("waitress", 90)])
def test_two_hundred_who_wait_do_not_keep_others_out(run: Run, name: str, many: int) -> None:
    """On four threads: one may wait, and the others are answered at once.

    Waitress takes a hundred connections.
    """
    live = run(name)
    where = start(live, f"/async/gated/{new_key()}")
    with ExitStack() as stack:
        clients: list[Client] = [stack.enter_context(live.client()) for _ in range(many)]
        for client in clients:
            client.send("GET", where, headers={"Prefer": "wait=10"})
        began = time.monotonic()
        for _ in range(5):
            assert ask(live, "POST", "/async/echo/a").status == 202
        took = time.monotonic() - began
        answers = [client.read() for client in clients]
    assert took < 5, took
    assert {answer.status for answer in answers} == {200}
    waited = [answer for answer in answers if "preference-applied" in answer.head.headers]
    assert 1 <= len(waited) <= 3
