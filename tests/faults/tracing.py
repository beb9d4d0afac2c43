"""strace as a hand of the tests: it kills, or breaks, a process at one of its system calls.

``make services`` installs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def inject(call: str, what: str, path: Path | None = None) -> Sequence[str]:
    """Have *what* happen at a system call: ``signal=KILL:when=3``, ``error=EIO``.

    With a *path* only the calls that concern this file count.
    """
    only = () if path is None else ("-P", str(path))
    output = ("-o", "/dev/null")
    trace = ("-e", f"trace={call}", "-e", f"inject={call}:{what}")
    return ("strace", "-f", "-qq", *output, *only, *trace)


def observe(output: Path, *calls: str) -> Sequence[str]:
    """Have the system calls written to a file, with the paths of what they concern."""
    trace = ("-e", f"trace={','.join(calls)}")
    return ("strace", "-f", "-qq", "-y", "-s", "200", "-o", str(output), *trace)
