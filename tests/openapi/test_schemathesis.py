"""Schemathesis sends what is allowed and what is not, and has nothing to complain of."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from .fuzzed import make_app

#: A key that was used for another request is refused, and no schema can say which that is.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 422, 429, "5xx"]
"""

SHOP = Path(__file__).parents[2] / "examples" / "shop"

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture
def url() -> Iterator[str]:
    """Serve the app while the test runs."""
    app, later = make_app("3.1.0")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    serving.join()
    server.server_close()
    later.stop(app)


@pytest.fixture
def shop_url(tmp_path: Path) -> Iterator[str]:
    """Serve the demo shop while the test runs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd, port = listening.fileno(), listening.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{fd}", "app:create_app()"]
        # gunicorn has a control socket in the second one.
        folders = dict.fromkeys(("SHOP_INSTANCE", "XDG_RUNTIME_DIR"), str(tmp_path))
        environ = {**os.environ, **folders, "FLASK_LATER_MAX_WAIT": "1"}
        server = subprocess.Popen(command, cwd=SHOP, env=environ, pass_fds=[fd])
        yield f"http://127.0.0.1:{port}"
        server.terminate()
        server.wait(60)


def test_no_violation_is_found(url: str, tmp_path: Path) -> None:
    """By any check, in any phase, on any route: the 202 leads through the others by its links."""
    found = violations(url, tmp_path)
    assert re.search(r"Selected: 9/9\n *Tested: 9\n", found), found
    assert re.search(r"API Links: +[1-9]", found), found


def test_no_violation_is_found_in_the_shop(shop_url: str, tmp_path: Path) -> None:
    """Under gunicorn, with two workers, on its file."""
    found = violations(shop_url, tmp_path)
    assert re.search(r"API Links: +[1-9]", found), found


def violations(url: str, tmp_path: Path) -> str:
    """Return what schemathesis tells of the API there, which is not that anything is wrong."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--seed", "1", "--max-examples", "10", "--checks", "all", "--no-color"),
            *("--no-shrink", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
