"""gunicorn with the shop, as the demo starts it, asks it, and reads what it has written."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from services import Services
from waiting import HOST, PATIENCE, WentWrongError, answers, expect, wait_until

T = TypeVar("T")
Json = dict[str, Any]

HERE = Path(__file__).resolve().parent
#: Who may bring the work to the workers, and what people call it.
ENGINES = {"native": "its own", "celery": "Celery", "rq": "RQ"}


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    ended_at: float
    milliseconds: float
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Json:
        answer: Json = json.loads(self.body)
        return answer


class Server:
    """gunicorn, as long as the context lasts. What it keeps is in *folder*, also afterwards."""

    process: subprocess.Popen[bytes]

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.started_at = 0.0
        #: Where the jobs are, for people to read.
        self.store = "a SQLite file"
        self._settings: dict[str, str] = {}
        self._worker: subprocess.Popen[bytes] | None = None

    def use(self, engine: str, services: Services) -> None:
        """Run the jobs on that engine's workers; the shop itself knows nothing of it."""
        self.store = f"PostgreSQL, run by workers of {ENGINES[engine]}"
        self._settings = {
            "FLASK_LATER_STORE": services.store,
            "FLASK_LATER_ENGINE": engine,
            "FLASK_LATER_BROKER": services.broker,
        }

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else "(none)"

    def __enter__(self) -> Self:
        with socket.socket() as reservation:
            # Bound and never listening: nobody else is given the port, and gunicorn can have it.
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                reservation.bind((HOST, self.port))
            except OSError as error:
                raise WentWrongError(f"port {self.port}: {error.strerror}") from None
            self.port = reservation.getsockname()[1]
            self._spawn()
            self.wait_until(lambda: answers(self.port), "the server does not answer")
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, whatever happened."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [self.process] if self._worker is None else [self.process, self._worker]

    def _spawn(self) -> None:
        self.started_at = time.time()
        self.process = self._start(
            "-m", "gunicorn", f"--bind={HOST}:{self.port}", "app:create_app()"
        )
        if self._settings:
            self._worker = self._start("-m", "flask", "later", "worker", "--processes=2")

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        # gunicorn puts a control socket there, which would go into the home folder otherwise.
        variables = {
            "SHOP_INSTANCE": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            # What is in hand is finished at the stop, however busy the machine.
            "FLASK_LATER_SHUTDOWN_TIMEOUT": "20",
        }
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=HERE,
                env={**os.environ, **variables, **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this script, which then stops the server properly.
                start_new_session=True,
            )

    def stop(self) -> float:
        """Send SIGTERM and wait for the end; return how long that took."""
        began = time.time()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise WentWrongError(f"it still runs {PATIENCE:g} s after SIGTERM") from None
            expect(code == 0, f"{process.args} ended with {code}")
        return time.time() - began

    # What is seen of it

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **form: str
    ) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        began = time.perf_counter()
        try:
            connection.request(method, path, urlencode(form), {**kind, **(headers or {})})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise WentWrongError(f"{method} {path}: {error!r}") from None
        finally:
            took = time.perf_counter() - began
            ended_at = time.time()
            connection.close()
        return Answer(response.status, body, ended_at, took * 1000, dict(response.headers))

    def wait_for_job(self, job_id: str) -> Json:
        """Ask for the job's status until it has succeeded."""

        def finished() -> Json | None:
            answer = self.request("GET", f"/jobs/{job_id}")
            expect(answer.status == 200, f"GET /jobs/{job_id} answered {answer.status}")
            return answer.json if answer.json["finished_at"] else None

        job = self.wait_until(finished, f"job {job_id} has not ended")
        expect(job["state"] == "succeeded", f"job {job_id} {job['state']}")
        return job

    def wait_for(self, look: Callable[[], list[T]], count: int, what: str) -> list[T]:
        """Return what *look* sees once there are *count* of them."""

        def enough() -> list[T]:
            found = look()
            return found if len(found) >= count else []

        return self.wait_until(enough, f"there are fewer than {count} {what}")

    def wait_until(self, check: Callable[[], T | None], otherwise: str) -> T:
        """Ask *check*, as long as the server runs, until it answers something true; return that."""

        def check_both() -> T | None:
            answer = check()
            code = self.process.poll()
            expect(bool(answer) or code is None, f"the server ended by itself, with {code}")
            return answer

        return wait_until(check_both, otherwise)

    def lines(self, name: str, text: str) -> list[Json]:
        """The lines of one of the shop's logs that hold *text*."""
        path = self.folder / name
        # A line without its end is still being written.
        written = path.read_text().split("\n")[:-1] if path.exists() else []
        return [line for line in map(json.loads, written) if text in line["text"]]

    def mails(self, text: str) -> list[Path]:
        return [path for path in self.folder.glob("outbox/*.eml") if text in path.read_text()]
