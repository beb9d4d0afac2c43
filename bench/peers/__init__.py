"""The contenders, one module each, behind one small interface.

A peer is made with the number of its threads and the function that each job calls; it is ready to
work when it has been made. ``submit(payload)`` is what a view would call, without a layer of ours
around it, and ``stop()`` ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

Payload = dict[str, Any]
Job = Callable[[Payload], None]


class Peer(Protocol):
    """What can be measured."""

    submit: Callable[[Payload], object]

    def stop(self) -> None: ...


#: Name -> where it is. Imported in the process that measures it, and nowhere else.
PEERS = {
    "tpe": "bench.peers.tpe:Executor",
    "ours": "bench.peers.ours:Ours",
    "ours_in_request": "bench.peers.ours:OursInRequest",
    "flask_executor": "bench.peers.flask_executor:FlaskExecutor",
    "huey": "bench.peers.huey:Huey",
    "ours_power": "bench.peers.ours:OursPower",
    "ours_process": "bench.peers.ours:OursProcess",
    "floor": "bench.peers.floor:Floor",
}


def make(name: str, threads: int, job: Job) -> Peer:
    """Start the peer called *name*."""
    module, _, attribute = PEERS[name].partition(":")
    peer: Peer = getattr(import_module(module), attribute)(threads, job)
    return peer
