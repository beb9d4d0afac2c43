"""The figures of the runs, for the summary and the report file."""

from __future__ import annotations

#: What each run that measures something came to, by its name.
FIGURES: dict[str, dict[str, object]] = {}
