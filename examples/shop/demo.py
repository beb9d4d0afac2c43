"""Run the shop under gunicorn with two workers, use it over HTTP, and tell what happened when.

python demo.py              once through; exits with 1 if anything went wrong
python demo.py --serve      keep the shop up until Ctrl-C
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

T = TypeVar("T")
Json = dict[str, Any]

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
#: Seconds after which something that should have happened is taken for broken.
PATIENCE = 30.0
#: What is in hand or in the queue when the server is told to stop.
SIGNUPS, ORDERS = 20, 10


class WentWrongError(Exception):
    """The demo did not show what it should."""


def main() -> int:
    parser = argparse.ArgumentParser(description="The shop, once through.")
    parser.add_argument("--serve", action="store_true", help="keep it up until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="the port; a free one if left out")
    arguments = parser.parse_args()
    # `kill` should stop the server as well, not only this script.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        server = Server(Path(folder), arguments.port)
        try:
            return serve(server) if arguments.serve else once_through(server)
        except KeyboardInterrupt:
            return 130
        except WentWrongError as error:
            print(f"\nWENT WRONG: {error}\n\nThe server's log:\n{server.log}", flush=True)
            return 1


def once_through(server: Server) -> int:
    began = time.time()
    with server:
        introduce(server)
        sign_up(server, "ada@shop.example", attempts=1)
        sign_up(server, "bob@busy.example", attempts=2)
        order(server)
        waiting = stop_in_the_middle(server)
    with server:
        go_on(server, waiting)
        server.stop()
    print(f"\nAll of it happened, in {time.time() - began:.1f} s.")
    return 0


def serve(server: Server) -> int:
    with server:
        introduce(server)
        print(
            f"""
In a browser:  {server.url}/
Mails and logs: {server.folder}

    curl -i -d email=ada@shop.example {server.url}/signup
    curl -i -d item=mug {server.url}/orders
    curl {server.url}/jobs/<the id that signup answered>

Ctrl-C stops it.""",
            flush=True,
        )
        with suppress(KeyboardInterrupt):
            code = server.process.wait()
            raise WentWrongError(f"the server ended by itself, with {code}")
        took = server.stop()
    print(f"\nStopped in {took:.1f} s.")
    return 0


# The steps


def introduce(server: Server) -> None:
    """Wait until both workers work; nobody has asked them for anything yet."""
    opened = server.wait_for(lambda: server.lines("board.log", "opened"), 2, "opened notice boards")
    workers = sorted(str(line["process"]) for line in opened)
    ready = opened[-1]["at"] - server.started_at
    print(f"The shop: gunicorn at {server.url}, its jobs in a SQLite file")
    print(f"\nStarted\n{ready * 1000:8.0f} ms  workers {' and '.join(workers)} run", flush=True)


def sign_up(server: Server, email: str, attempts: int) -> None:
    """The answer comes at once; the audit line and the mail come after it."""
    story = Story(f"POST /signup  email={email}")
    answer = server.request("POST", "/signup", email=email)
    expect(answer.status == 202, f"POST /signup answered {answer.status}")
    story.tell(answer.ended_at, f"answered {answer.status} in {answer.milliseconds:.0f} ms")

    [line] = server.wait_for(lambda: server.lines("audit.log", email), 1, "audit lines")
    story.tell(line["at"], "audit line written, after the response", line["process"])

    job = server.wait_for_job(answer.json["job"])
    expect(job["attempts"] == attempts, f"{job['attempts']} attempts, expected {attempts}")
    tries = "first attempt" if attempts == 1 else f"attempt {attempts}: the mail server was busy"
    story.tell(job["finished_at"], f"mail sent, {tries}", job["result"]["process"])
    expect((server.folder / "outbox" / job["result"]["mail"]).is_file(), "the mail is not there")
    expect(answer.ended_at < line["at"], "the audit ran before the answer had come")
    expect(answer.ended_at < job["finished_at"], "the mail was sent before the answer had come")
    story.print()


def order(server: Server) -> None:
    """The service of the worker that answered prints the notice."""
    story = Story("POST /orders  item=mug")
    answer = server.request("POST", "/orders", item="mug")
    expect(answer.status == 201, f"POST /orders answered {answer.status}")
    story.tell(answer.ended_at, f"answered {answer.status} in {answer.milliseconds:.0f} ms")
    [line] = server.wait_for(lambda: server.lines("board.log", "sold: mug"), 1, "notices")
    story.tell(line["at"], "service printed 'sold: mug'", line["process"])
    expect(answer.ended_at < line["at"], "the notice came before the answer")
    story.print()


def stop_in_the_middle(server: Server) -> list[str]:
    """Stop while there is work of every kind; return the jobs, some of which still wait."""
    story = Story(f"{SIGNUPS} signups and {ORDERS} orders, and SIGTERM at once")
    emails = [f"{number}@crowd.example" for number in range(SIGNUPS)]
    answers = [server.request("POST", "/signup", email=email) for email in emails]
    for number in range(ORDERS):
        server.request("POST", "/orders", item=f"cup {number}")
    story.tell(time.time(), f"{SIGNUPS + ORDERS} requests answered, SIGTERM sent")
    took = server.stop()
    audits = len(server.lines("audit.log", "@crowd.example"))
    notices = len(server.lines("board.log", "sold: cup"))
    closed = len(server.lines("board.log", "closed"))
    sent = len(server.mails("@crowd.example"))
    story.tell(time.time(), f"the server has ended, {took * 1000:.0f} ms after SIGTERM")
    story.tell(time.time(), f"{audits} of {SIGNUPS} audit lines written")
    story.tell(time.time(), f"{notices} of {ORDERS} notices printed, {closed} of 2 services closed")
    story.tell(time.time(), f"{sent} of {SIGNUPS} mails sent, the others wait in the file")
    expect(audits == SIGNUPS, "audit lines were lost")
    expect(notices == ORDERS, "notices were lost")
    expect(closed == 2, "a service was not shut down")
    story.print()
    return [answer.json["job"] for answer in answers]


def go_on(server: Server, jobs: list[str]) -> None:
    """After a restart the waiting jobs run, although nobody asks for anything."""
    story = Story("Started again, without a request", server.started_at)
    server.wait_for(lambda: server.mails("@crowd.example"), SIGNUPS, "mails")
    story.tell(time.time(), f"{SIGNUPS} of {SIGNUPS} mails sent")
    for job in jobs:
        server.wait_for_job(job)
    mails = len(server.mails("@crowd.example"))
    expect(mails == SIGNUPS, f"{mails} mails for {SIGNUPS} signups")
    story.print()


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise WentWrongError(otherwise)


# What is told


@dataclass
class Story:
    """One step, told with times from its beginning on."""

    title: str
    began: float = field(default_factory=time.time)
    events: list[tuple[float, str]] = field(default_factory=list)

    def tell(self, at: float, text: str, process: int | None = None) -> None:
        where = "" if process is None else f"worker {process}"
        self.events.append((at, f"{text:<50}{where}".rstrip()))

    def print(self) -> None:
        print(f"\n{self.title}")
        for at, text in sorted(self.events, key=lambda event: event[0]):
            print(f"{(at - self.began) * 1000:8.0f} ms  {text}", flush=True)


# The server


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    ended_at: float
    milliseconds: float

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
            self.wait_until(self._answers, "the server does not answer")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave nothing behind, whatever happened."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "gunicorn", f"--bind={HOST}:{self.port}"]
        # gunicorn puts a control socket there, which would go into the home folder otherwise.
        variables = {"SHOP_INSTANCE": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        self.started_at = time.time()
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "app:create_app()"],
                cwd=HERE,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this script, which then stops the server properly.
                start_new_session=True,
            )

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1.0).close()
        except OSError:
            return False
        return True

    def stop(self) -> float:
        """Send SIGTERM and wait for the end; return how long that took."""
        began = time.time()
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise WentWrongError(f"it still runs {PATIENCE:g} s after SIGTERM") from None
        expect(code == 0, f"the server ended with {code}")
        return time.time() - began

    # What is seen of it

    def request(self, method: str, path: str, **form: str) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        began = time.perf_counter()
        try:
            connection.request(method, path, urlencode(form), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise WentWrongError(f"{method} {path}: {error!r}") from None
        finally:
            took = time.perf_counter() - began
            ended_at = time.time()
            connection.close()
        return Answer(response.status, body, ended_at, took * 1000)

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
        """Ask *check* until it answers something true, and return that."""
        deadline = time.monotonic() + PATIENCE
        while not (answer := check()):
            code = self.process.poll()
            expect(code is None, f"the server ended by itself, with {code}")
            expect(time.monotonic() < deadline, f"after {PATIENCE:g} s {otherwise}")
            time.sleep(0.01)
        return answer

    def lines(self, name: str, text: str) -> list[Json]:
        """The lines of one of the shop's logs that hold *text*."""
        path = self.folder / name
        # A line without its end is still being written.
        written = path.read_text().split("\n")[:-1] if path.exists() else []
        return [line for line in map(json.loads, written) if text in line["text"]]

    def mails(self, text: str) -> list[Path]:
        return [path for path in self.folder.glob("outbox/*.eml") if text in path.read_text()]


if __name__ == "__main__":
    sys.exit(main())
