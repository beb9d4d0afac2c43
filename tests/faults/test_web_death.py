"""Web processes that die with what was in their memory (faults 1 and 2)."""

from __future__ import annotations

import pytest
from tests.live.events import new_key
from tests.live.servers import SERVERS, Server

from .scene import Scene

pytestmark = pytest.mark.live


def serve(scene: Scene, name: str, **settings: object) -> Server:
    """Start a server with the app of the live tests."""
    server = Server(config=SERVERS[name], folder=scene.folder, settings=settings)
    return scene.stack.enter_context(server)


def test_a01_a_web_process_killed_before_its_callbacks(bare_scene: Scene) -> None:
    """The response is whole, the callback is lost, and the stored job is not."""
    first = serve(bare_scene, "gunicorn-gthread")
    key = new_key()
    with first.client() as client:
        response = client.get(f"/kinds/length/{key}")
    first.events.wait_for("callback-began", key=key)
    job = first.post(f"/jobs/patient/{key}")
    first.kill()
    assert (response.complete, len(response.body)) == (True, 1000)
    again = serve(bare_scene, "gunicorn-gthread")
    again.open_gate(key)
    again.ask("/pid")
    again.events.wait_for("task-ended", key=key)
    assert again.state_of(job)["state"] in ("running", "succeeded")
    assert again.events.find("callback-ended") == []
    assert len(again.events.find("callback-began")) == 1


def test_a02_a_web_process_killed_with_jobs_in_its_memory(bare_scene: Scene) -> None:
    """They are gone, all of them; nothing is left on the disk, and the next process is well."""
    first = serve(bare_scene, "waitress", store="memory://", threads=1)
    keys = [new_key() for _ in range(5)]
    for key in keys:
        first.post(f"/jobs/patient/{key}")
    first.events.wait_for("task-began")
    first.kill()
    assert not list(bare_scene.folder.rglob("*sqlite*"))
    again = serve(bare_scene, "waitress", store="memory://", threads=1)
    for key in keys:
        again.open_gate(key)
    new = new_key()
    again.post(f"/jobs/quick/{new}")
    again.events.wait_for("task-ran", key=new)
    assert again.events.find("task-ended") == []
    assert len(again.events.find("task-began")) == 1
