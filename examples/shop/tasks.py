"""What the shop does while nobody waits for it."""

from __future__ import annotations

import json
import os
import time
from email.message import EmailMessage
from pathlib import Path

from flask import current_app, url_for

from flask_later import Later, QueueService, Retry, current_job

later = Later()


class MailServerBusyError(Exception):
    pass


@later.task(queue="mail", retry=Retry(max_attempts=5, backoff=0.5), timeout=10)
def send_welcome(email: str) -> dict[str, object]:
    """Put the mail into the outbox. A job may run twice, but its file has one name."""
    time.sleep(0.3)  # a mail server far away
    if email.endswith("@busy.example") and current_job.attempt == 1:
        raise MailServerBusyError("450 try again later")
    mail = EmailMessage()
    mail["To"] = email
    mail["Subject"] = "Welcome to the shop"
    mail.set_content(f"Have a look around: {url_for('shop.home', _external=True)}")
    path = Path(current_app.instance_path, "outbox", f"{current_job.id}.eml")
    path.write_bytes(mail.as_bytes())
    return {"mail": path.name, "process": os.getpid()}


def audit(ip: str | None, event: str) -> None:
    """Called after the response, so that no visitor waits for it."""
    time.sleep(0.1)  # a log server far away
    append("audit.log", f"{event} from {ip}")


@later.service
class Noticeboard(QueueService[str]):
    """Tells the staff what was sold, line by line. In memory: a lost line does no harm."""

    def startup(self) -> None:
        append("board.log", "opened")

    def handle(self, item: str) -> None:
        time.sleep(0.05)  # a slow printer
        append("board.log", item)

    def shutdown(self) -> None:
        append("board.log", "closed")


def append(name: str, text: str) -> None:
    """Add a line to a file of the instance folder, in one write, so that no lines mix."""
    line = json.dumps({"at": time.time(), "process": os.getpid(), "text": text})
    with Path(current_app.instance_path, name).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
