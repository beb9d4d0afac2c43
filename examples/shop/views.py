"""What visitors see."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import ledger
from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from tasks import Noticeboard, audit, later, send_welcome

from flask_later import current_job
from flask_later.errors import JobNotFoundError

shop = Blueprint("shop", __name__)


@shop.get("/")
def home() -> ResponseReturnValue:
    return render_template("home.html")


@shop.post("/signup")
def signup() -> ResponseReturnValue:
    email = request.form.get("email", "")
    if "@" not in email:
        abort(400, "Please give an email address.")
    later.after_this_response(audit, request.remote_addr, f"signup of {email}")
    job = send_welcome.enqueue(email)
    status = url_for(".job", job_id=job.id)
    if wants_html():
        return redirect(status, 303)
    return {"job": job.id, "status": status}, 202, {"Location": status}


@shop.post("/orders")
def order() -> ResponseReturnValue:
    item = request.form.get("item", "")
    if not item:
        abort(400, "Please say what you want.")
    later.services[Noticeboard].put(f"sold: {item}")
    if wants_html():
        return redirect(url_for(".home"), 303)
    return {"ordered": item}, 201


def with_year(view: Callable[[int], Response]) -> Callable[[], ResponseReturnValue]:
    """Refuse in the request what makes no report."""

    @wraps(view)
    def checked() -> ResponseReturnValue:
        year = request.form.get("year", "")
        if year not in map(str, ledger.YEARS):
            abort(422, f"The ledgers of {ledger.YEARS[0]} to {ledger.YEARS[-1]} are kept.")
        return view(int(year))

    return checked


@shop.post("/reports")
@with_year
@later.respond_async(title="Sales of the year", timeout=60)
def report(year: int) -> ResponseReturnValue:
    """Takes seconds, and so runs in a job, which tells how far it is and answers with a file."""
    sales: list[ledger.Row] = []
    for month in current_job.track(range(1, 13), message=f"Reading the ledger of {year}"):
        sales += ledger.rows(year, month)
        current_job.log(f"Month {month}: {ledger.revenue(sales, month):,} taken")
    answer = Response(ledger.as_csv(sales), mimetype="text/csv")
    answer.headers.set("Content-Disposition", "attachment", filename=f"sales-{year}.csv")
    return answer


@shop.get("/jobs/<job_id>")
def job(job_id: str) -> ResponseReturnValue:
    found = later.job(job_id)
    if wants_html():
        return render_template("job.html", job=found)
    return {
        "id": found.id,
        "state": found.state,
        "attempts": found.attempts,
        "finished_at": found.record.finished_at and found.record.finished_at.timestamp(),
        "result": found.result if found.state == "succeeded" else None,
    }


@shop.errorhandler(JobNotFoundError)
def job_not_found(error: JobNotFoundError) -> ResponseReturnValue:
    return {"error": "There is no such job."}, 404


def wants_html() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
