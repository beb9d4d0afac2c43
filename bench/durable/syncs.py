"""Counts fsyncs, and makes them slower: a small library in C, preloaded into what is measured."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_name("syncs.c")
_COUNT, _DELAY = "BENCH_SYNCS", "BENCH_SYNC_DELAY"


def build(folder: Path) -> Path | None:
    """Compile it into *folder*; None where there is no C compiler, or no LD_PRELOAD."""
    compiler = shutil.which("cc")
    if compiler is None or os.name != "posix":
        return None
    library = folder / "syncs.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"]
    return library if subprocess.run(command, check=False).returncode == 0 else None


def environment(library: Path, folder: Path, delay: int) -> Mapping[str, str]:
    """Return what preloads it, counting in *folder*, with *delay* microseconds more per sync."""
    counter = folder / "syncs"
    counter.write_bytes(bytes(8))
    return {"LD_PRELOAD": str(library), _COUNT: str(counter), _DELAY: str(delay)}


def counted() -> int:
    """Return the syncs of this process and of those it started."""
    (count,) = struct.unpack("L", Path(os.environ[_COUNT]).read_bytes())
    return int(count)
