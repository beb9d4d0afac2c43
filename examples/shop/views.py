"""What visitors see."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from tasks import Noticeboard, audit, later, send_welcome

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
    item = request.form.get("item", "mug")
    later.services[Noticeboard].put(f"sold: {item}")
    if wants_html():
        return redirect(url_for(".home"), 303)
    return {"ordered": item}, 201


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
