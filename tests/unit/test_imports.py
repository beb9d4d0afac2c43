"""What a web process does without: modules that only commands and rare values need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: A process that enqueues a job on SQLite, as most do.
_ENQUEUE = """
import sys
from flask import Flask

known = {*sys.modules}

from flask_later import Later

app = Flask("shop", instance_path=sys.argv[1])
later = Later(app)

@later.task
def mail(to: str) -> None: ...

with app.app_context():
    mail.enqueue("a@b.c")
print(*sorted({*sys.modules} - known))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that such a process has beside those of Flask."""
    folder: Path = tmp_path_factory.mktemp("instance")
    command = [sys.executable, "-c", _ENQUEUE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return {*done.stdout.split()}


def test_what_is_needed_is_seen(imported: set[str]) -> None:
    """The process has done its work, and says what it took."""
    assert {"sqlite3", "flask_later.stores.sqlite.store", "flask_later.cli.group"} <= imported


@pytest.mark.parametrize(
    "module",
    [
        *("asyncio", "multiprocessing", "http.client", "http.server", "subprocess"),
        *("sqlalchemy", "celery", "rq", "pytest", "sysconfig", "zoneinfo"),
        *("flask_later.cli.worker", "flask_later.cli.doctor", "flask_later.runtime.supervisor"),
        *("flask_later.stores.memory", "flask_later.stores.sql", "flask_later.testing"),
        *("flask_later.stores.sqlite.examination", "flask_later.stores.sqlite.salvage"),
        *("flask_later.web.openapi.document", "flask_later.engines.brokered"),
    ],
)
def test_what_is_not_needed_is_not_imported(imported: set[str], module: str) -> None:
    """Memory that every process of every server would hold for nothing."""
    assert module not in imported
