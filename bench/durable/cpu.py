"""What processes have used of the machine, read from outside of them (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
#: Of a process' clocks the one of its CPU time: ``CPUCLOCK_SCHED`` of the kernel.
_SCHED = 2


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(int(stat.parent.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that processes have used, with the children they have outlived."""
    return sum(_own(pid) + _of_dead_children(pid) for pid in pids)


def _own(pid: int) -> float:
    # To the nanosecond, where /proc counts ticks.
    return time.clock_gettime((~pid << 3) | _SCHED)


def _of_dead_children(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / _TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Return the fields of its ``stat`` that follow the name."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def resident(pid: int | str = "self") -> float:
    """Return the megabytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
