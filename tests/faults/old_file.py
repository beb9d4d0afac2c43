"""A file as the first version of the tables made it, with a job."""

from __future__ import annotations

from pathlib import Path

from .oracle import opened

TABLES = Path(__file__).parents[1] / "unit" / "sqlite" / "tables_v1.sql"
JOB = """
    INSERT INTO job (id, task, queue, payload, state, created_at, run_at, rank, priority, context,
        fence, attempts, failures, crashes, releases)
    VALUES ('0123456789abcdef0123456789abcdef', 'effect', 'default', '{}', 'queued',
        0, 0, 0, 0, '{}', 0, 0, 0, 0, 0)
"""


def make_old(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened(path) as db:
        db.executescript(TABLES.read_text())
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(JOB)
