"""The names of our workers at the broker."""

from __future__ import annotations

import os
import secrets
import socket


def worker_name(prefix: str) -> str:
    """Return a name that no other worker of the broker has.

    Two containers often have one number for their processes, and may have one host name.
    """
    return f"{prefix}{os.getpid()}-{secrets.token_hex(4)}@{socket.gethostname()}"
