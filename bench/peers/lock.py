"""No peer but what one would write first: an insert and a commit each, one connection, one lock."""

from __future__ import annotations

import json
import sqlite3
from threading import Lock

from bench.durable.place import Place
from bench.durable.queue import Queue
from bench.peers import Payload

_SCHEMA = """
    CREATE TABLE job (id INTEGER PRIMARY KEY, queue TEXT, rank REAL, state TEXT, arguments TEXT);
    CREATE INDEX job_ready ON job (queue, rank, id) WHERE state = 'queued';
"""
_INSERT = "INSERT INTO job (queue, rank, state, arguments) VALUES ('default', 0, 'queued', ?)"


class OneConnection(Queue):
    def __init__(self, place: Place) -> None:
        self._db = sqlite3.connect(place.file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        self._lock = Lock()

    def submit(self, payload: Payload) -> None:  # type: ignore[override]
        text = json.dumps(payload)
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_INSERT, (text,))
            self._db.execute("COMMIT")
