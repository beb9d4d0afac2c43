"""How much memory this process has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "linux":
    _PAGE = os.sysconf("SC_PAGE_SIZE")

    def resident_bytes() -> int | None:
        """Return the memory that the process has now, or None where nobody knows."""
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * _PAGE

elif sys.platform == "win32":

    def resident_bytes() -> int | None:
        """Return the memory that the process has now, or None where nobody knows."""
        return None

else:
    import resource

    # macOS counts bytes, the BSDs count kilobytes.
    _UNIT = 1 if sys.platform == "darwin" else 1024

    def resident_bytes() -> int | None:
        """Return the most memory that the process ever had: what it has now, nobody tells."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
