"""Which thread of an idle process takes what (Linux)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import NamedTuple

_SECONDS = 12.0


class _Used(NamedTuple):
    """The CPU time of a thread in seconds, and the times it was put on a core."""

    cpu: float
    turns: int


def table() -> str:
    """Watch the threads of this process, which does nothing, for 12 s."""
    before = _used()
    time.sleep(_SECONDS)
    after = _used()
    lines = [f"{'% of a core':>11} {'turns/s':>8}  thread"]
    for name in sorted(after, key=lambda name: before.get(name, after[name]).cpu - after[name].cpu):
        if name in before:
            share = (after[name].cpu - before[name].cpu) / _SECONDS * 100
            turns = (after[name].turns - before[name].turns) / _SECONDS
            lines.append(f"{share:11.3f} {turns:8.2f}  {name}")
    return "\n".join([*lines, ""])


def _used() -> dict[str, _Used]:
    return {
        thread.name: _read(thread.native_id)
        for thread in threading.enumerate()
        if thread.native_id is not None
    }


def _read(native_id: int) -> _Used:
    text = Path(f"/proc/self/task/{native_id}/schedstat").read_text()
    nanoseconds, _, turns = text.split()
    return _Used(int(nanoseconds) / 1e9, int(turns))
