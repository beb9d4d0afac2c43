"""Run the shop under gunicorn with two workers, use it over HTTP, and tell what happened when.

python demo.py                    once through; exits with 1 if anything went wrong
python demo.py --serve            keep the shop up until Ctrl-C
python demo.py --engine celery    the same on PostgreSQL and Redis, jobs on Celery's workers; or rq
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from server import ENGINES, Answer, Server
from services import MissingError, Services
from waiting import WentWrongError, expect

#: What is in hand or in the queue when the server is told to stop.
SIGNUPS, ORDERS = 20, 10
#: How often a step is taken, if this script is always too late to see what came first.
TRIES = 10


class TooLateError(WentWrongError):
    """What follows an answer was there when the answer had been read."""


def main() -> int:
    parser = argparse.ArgumentParser(description="The shop, once through.")
    parser.add_argument("--serve", action="store_true", help="keep it up until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="the port; a free one if left out")
    parser.add_argument("--engine", choices=[*ENGINES], default="native", help="who runs the jobs")
    arguments = parser.parse_args()
    # `kill` should stop the server as well, not only this script.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="shop-") as folder, ExitStack() as stack:
        server = Server(Path(folder), arguments.port)
        try:
            if arguments.engine != "native":
                server.use(arguments.engine, stack.enter_context(Services(server.folder)))
            return serve(server) if arguments.serve else once_through(server)
        except KeyboardInterrupt:
            return 130
        except (MissingError, WentWrongError) as error:
            print(f"\nWENT WRONG: {error}\n\nThe server's log:\n{server.log}", flush=True)
            return 1


def once_through(server: Server) -> int:
    began = time.time()
    with server:
        introduce(server)
        in_time(lambda mark: sign_up(server, f"ada{mark}@shop.example", attempts=1))
        in_time(lambda mark: sign_up(server, f"bob{mark}@busy.example", attempts=2))
        in_time(lambda mark: order(server, f"mug{mark}"))
        report(server)
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
    curl -i -d year=2026 {server.url}/reports
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


def in_time(step: Callable[[str], None]) -> None:
    """Take *step*, and again with another mark where that did not show what came first.

    On a busy machine this script may read an answer long after the server has sent it.
    """
    for number in range(1, TRIES + 1):
        try:
            step(f"+{number}" if number > 1 else "")
            break
        except TooLateError:
            if number == TRIES:
                raise


def expect_first(answer: Answer, at: float, what: str) -> None:
    """Expect that *answer* had been read before *what* happened."""
    if answer.ended_at >= at:
        raise TooLateError(f"the answer had not come when {what}")


def introduce(server: Server) -> None:
    """Wait until both workers work; nobody has asked them for anything yet."""
    opened = server.wait_for(lambda: server.lines("board.log", "opened"), 2, "opened notice boards")
    workers = sorted(str(line["process"]) for line in opened)
    ready = opened[-1]["at"] - server.started_at
    print(f"The shop: gunicorn at {server.url}, its jobs in {server.store}")
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
    expect_first(answer, line["at"], "the audit ran")
    expect_first(answer, job["finished_at"], "the mail was sent")
    story.print()


def order(server: Server, item: str) -> None:
    """The service of the worker that answered prints the notice."""
    story = Story(f"POST /orders  item={item}")
    answer = server.request("POST", "/orders", item=item)
    expect(answer.status == 201, f"POST /orders answered {answer.status}")
    story.tell(answer.ended_at, f"answered {answer.status} in {answer.milliseconds:.0f} ms")
    [line] = server.wait_for(lambda: server.lines("board.log", f"sold: {item}"), 1, "notices")
    story.tell(line["at"], f"service printed 'sold: {item}'", line["process"])
    expect_first(answer, line["at"], "the notice was printed")
    story.print()


def report(server: Server) -> None:
    """An async route: 202 at once, progress meanwhile, a file in the end."""
    story = Story("POST /reports  year=2026")
    answer = server.request("POST", "/reports", year="2026")
    expect(answer.status == 202, f"POST /reports answered {answer.status}")
    where = answer.headers["Location"]
    story.tell(answer.ended_at, f"answered {answer.status} in {answer.milliseconds:.0f} ms")
    shares = []
    while not answer.json["done"]:
        # Answered once something has changed, or after five seconds.
        news = {"Prefer": "wait=5", "If-None-Match": answer.headers["ETag"]}
        newer = server.request("GET", where, news)
        if newer.status == 304:
            continue
        answer = newer
        if answer.json["status"] == "running" and answer.json["progress"]:
            shares.append(answer.json["progress"]["percent"])
            story.tell(answer.ended_at, f"its status: running, {shares[-1]:.0f} %")
    expect(answer.json["status"] == "succeeded", f"the report {answer.json['status']}")
    expect(bool(shares) and shares == sorted(shares), f"progress was {shares}")
    expect(answer.json["progress"]["percent"] == 100, f"it ended at {answer.json['progress']}")
    result = server.request("GET", answer.json["links"]["result"])
    expect(result.headers["Content-Type"].startswith("text/csv"), "the result is no CSV")
    lines = result.body.decode().splitlines()
    expect(len(lines) == 97, f"the report has {len(lines)} lines")
    name = result.headers["Content-Disposition"].partition("filename=")[2]
    story.tell(result.ended_at, f"its result: {name}, {len(lines)} lines")
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
    story.tell(time.time(), f"{sent} of {SIGNUPS} mails sent, the others wait")
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


if __name__ == "__main__":
    sys.exit(main())
