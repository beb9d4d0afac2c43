"""An app whose visitors start work by forms, written as a user writes one.

A view *waits for a gate* until the test opens it, by creating a file; so each test sees what it
wants to see for as long as it needs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from flask import Flask, Response, render_template_string, request

from flask_later import Failure, Later, Retry, TryAgain, current_job

later = Later()
app = Flask(__name__, instance_path=os.environ.get("LIVE_INSTANCE"))

#: Longer than a test needs on a busy machine.
PATIENCE = 30.0
QUARTERS = ("spring", "summer", "autumn", "winter")

FORMS = """<!doctype html>
<html lang="en">
<title>Reports</title>
<h1>Reports</h1>
{% for path in paths %}
<form method="post" action="{{ request.script_root }}/{{ path }}">
  <input name="key" aria-label="Key of {{ path }}">
  <button>{{ path }}</button>
</form>
{% endfor %}
"""

OWN_PAGE = """<!doctype html>
<html lang="en">
<title>A page of one's own</title>
<body data-operation="{{ operation }}" data-module="{{ module }}">
<script type="module" src="{{ url_for('static', filename='own.js') }}"></script>
<p id="last">none</p>
"""


def wait_for_gate(name: str) -> None:
    """Wait for the gate *name* of the request's key; end where the job should stop."""
    gate = Path(os.environ["LIVE_GATES"], f"{request.form['key']}-{name}")
    deadline = time.monotonic() + PATIENCE
    while not gate.exists() and time.monotonic() < deadline:
        current_job.checkpoint()
        time.sleep(0.01)


def work() -> None:
    """Do one part after the other, and tell of it."""
    current_job.log(f"Reading the ledger of {request.form['key']} <b>whole</b>")
    for part in current_job.track(QUARTERS, message="Adding up the sales"):
        wait_for_gate(part)
        current_job.log(f"{part.capitalize()}: {len(part) * 1_234:,} sales")


@app.get("/")
def forms() -> str:
    paths = ("reports", "tables", "failures", "refusals", "searches", "visits")
    return render_template_string(FORMS, paths=paths)


@app.post("/reports")
@later.respond_async(title="Yearly report")
def report() -> str:
    work()
    return "<!doctype html><html lang=en><title>The report</title><h1>The report</h1>"


@app.post("/tables")
@later.respond_async(title="Table of sales")
def table() -> Response:
    work()
    rows = "season,sales\n" + "".join(f"{part},{len(part)}\n" for part in QUARTERS)
    disposition = "attachment; filename=sales.csv"
    return Response(rows, mimetype="text/csv", headers={"Content-Disposition": disposition})


@app.post("/failures")
@later.respond_async(title="Monthly report")
def failure() -> str:
    for part in current_job.track(QUARTERS, message="Adding up the costs"):
        if part == "summer":
            raise Failure("The bookkeeping does not answer. Please try again in an hour.")
        wait_for_gate(part)
    return "never"


@app.post("/refusals")
@later.respond_async
def daily_report() -> tuple[str, int]:
    return "<!doctype html><html lang=en><title>No</title><h1>There is no such day.</h1>", 404


@app.post("/searches")
@later.respond_async(title="Search of the archive")
def search() -> str:
    current_job.progress(3, message="Three boxes are searched")
    wait_for_gate("end")
    return "found"


@app.post("/visits")
@later.respond_async(title="Visit to the bookkeeping", retry=Retry(max_attempts=3))
def visit() -> str:
    if current_job.attempt == 1:
        raise TryAgain(delay=3600)
    return "seen"


@app.post("/own")
@later.respond_async
def own() -> dict[str, str]:
    work()
    return {"key": request.form["key"]}


@app.get("/own")
def own_page() -> str:
    module = f"{request.script_root}/operations/static/later-follow.js"
    return render_template_string(OWN_PAGE, operation=request.args["operation"], module=module)


def create_app() -> Flask:
    if "later" not in app.extensions:
        app.config.from_prefixed_env()
        later.init_app(app)
    return app
