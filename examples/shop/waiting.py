"""Waiting for what other processes do, and what is said when they do not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HOST = "127.0.0.1"
#: Seconds after which something that should have happened is taken for broken.
PATIENCE = 30.0


class WentWrongError(Exception):
    """The demo did not show what it should."""


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise WentWrongError(otherwise)


def wait_until(check: Callable[[], T | None], otherwise: str) -> T:
    """Ask *check* until it answers something true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := check()):
        expect(time.monotonic() < deadline, f"after {PATIENCE:g} s {otherwise}")
        time.sleep(0.01)
    return answer


def answers(port: int) -> bool:
    """Whether anybody listens at *port*."""
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True
