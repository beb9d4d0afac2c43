"""An async view feels like any other under APIFlask and flask-smorest."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import apiflask
import flask_smorest
import marshmallow as ma
import pytest
from apiflask import APIFlask
from flask import Flask
from flask.testing import FlaskClient
from flask.views import MethodView
from flask_smorest import Api, Blueprint
from werkzeug.test import TestResponse

from flask_later import Later, current_job
from flask_later.testing import run_all

TODAY = dt.date(2026, 11, 30)


class ReportIn(ma.Schema):
    year = ma.fields.Integer(required=True)
    until = ma.fields.Date(load_default=TODAY)


class ReportOut(ma.Schema):
    rows = ma.fields.Integer()
    until = ma.fields.Date()


def view(asked: dict[str, Any]) -> dict[str, Any]:
    """What the view does under either, with what its schema has made of the request."""
    assert isinstance(asked["until"], dt.date)
    return {"rows": asked["year"], "until": asked["until"], "secret": "not in the schema"}


async def async_view(asked: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0)
    current_job.progress(1, 1)
    return view(asked)


def with_apiflask(app: APIFlask, later: Later) -> None:
    @app.post("/reports")
    @app.input(ReportIn)
    @later.respond_async
    @app.output(ReportOut, status_code=201)
    def report(json_data: dict[str, Any]) -> dict[str, Any]:
        return view(json_data)

    @app.route("/class")
    class Report(MethodView):
        @app.input(ReportIn)
        @later.respond_async
        @app.output(ReportOut, status_code=201)
        def post(self, json_data: dict[str, Any]) -> dict[str, Any]:
            return view(json_data)

    @app.post("/async")
    @app.input(ReportIn)
    @later.respond_async
    @app.output(ReportOut, status_code=201)
    async def async_report(json_data: dict[str, Any]) -> dict[str, Any]:
        return await async_view(json_data)

    @app.route("/async-class")
    class AsyncReport(MethodView):
        @app.input(ReportIn)
        @later.respond_async
        @app.output(ReportOut, status_code=201)
        async def post(self, json_data: dict[str, Any]) -> dict[str, Any]:
            return await async_view(json_data)

    @app.post("/both-above")
    @app.input(ReportIn)
    @app.output(ReportOut, status_code=201)
    @later.respond_async
    def both_above(json_data: dict[str, Any]) -> dict[str, Any]:
        return {"rows": json_data["year"]}

    @app.post("/abort")
    @later.respond_async
    def stop() -> None:
        apiflask.abort(404, "No such report.", extra_data={"code": 7})


def with_smorest(app: Flask, later: Later) -> None:
    blueprint = Blueprint("reports", __name__)

    @blueprint.route("/reports", methods=["POST"])
    @blueprint.arguments(ReportIn)
    @later.respond_async
    @blueprint.response(201, ReportOut)
    def report(asked: dict[str, Any]) -> dict[str, Any]:
        return view(asked)

    @blueprint.route("/class")
    class Report(MethodView):
        @blueprint.arguments(ReportIn)
        @later.respond_async
        @blueprint.response(201, ReportOut)
        def post(self, asked: dict[str, Any]) -> dict[str, Any]:
            return view(asked)

    @blueprint.route("/async", methods=["POST"])
    @blueprint.arguments(ReportIn)
    @later.respond_async
    @blueprint.response(201, ReportOut)
    async def async_report(asked: dict[str, Any]) -> dict[str, Any]:
        return await async_view(asked)

    @blueprint.route("/async-class")
    class AsyncReport(MethodView):
        @blueprint.arguments(ReportIn)
        @later.respond_async
        @blueprint.response(201, ReportOut)
        async def post(self, asked: dict[str, Any]) -> dict[str, Any]:
            return await async_view(asked)

    @blueprint.route("/both-above", methods=["POST"])
    @blueprint.arguments(ReportIn)
    @blueprint.response(201, ReportOut)
    @later.respond_async
    def both_above(asked: dict[str, Any]) -> dict[str, Any]:
        return {"rows": asked["year"]}

    @blueprint.route("/abort", methods=["POST"])
    @later.respond_async
    def stop() -> None:
        flask_smorest.abort(404, message="No such report.", errors={"code": 7})

    app.config.update(API_TITLE="Reports", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    Api(app).register_blueprint(blueprint)


@pytest.fixture(params=["apiflask", "smorest"])
def client(request: pytest.FixtureRequest) -> FlaskClient:
    app: Any = APIFlask("reports") if request.param == "apiflask" else Flask("reports")
    app.testing = True
    (with_apiflask if request.param == "apiflask" else with_smorest)(app, Later(app))
    found: FlaskClient = app.test_client()
    return found


def result(client: FlaskClient, path: str, asked: object) -> TestResponse:
    """Return what comes of it in the end."""
    answer = client.post(path, json=asked)
    assert answer.status_code == 202, answer.text
    run_all(client.application)
    return client.get(f"{answer.headers['Location']}/result")


@pytest.mark.parametrize("path", ["/reports", "/class", "/async", "/async-class"])
def test_what_was_loaded_in_the_request_reaches_the_view(client: FlaskClient, path: str) -> None:
    """And what the view returns is dumped in the job, as its schema says."""
    answer = result(client, path, {"year": 2026})
    assert (answer.status_code, answer.get_json()) == (201, {"rows": 2026, "until": "2026-11-30"})


def test_nonsense_is_refused_in_the_request(client: FlaskClient) -> None:
    """As by any other view, and nothing is stored."""
    answer = client.post("/reports", json={"year": "soon"})
    assert answer.status_code == 422
    assert "Not a valid integer" in answer.text
    assert run_all(client.application) == 0


def test_a_schema_of_the_answer_above_leaves_the_202_alone(client: FlaskClient) -> None:
    """It has nothing to dump there; the result is as the view returned it."""
    answer = result(client, "/both-above", {"year": 2026})
    assert (answer.status_code, answer.get_json()) == (200, {"rows": 2026})


def test_their_abort_is_the_result(client: FlaskClient) -> None:
    """As the library would have answered it, with the data that goes with it."""
    answer = result(client, "/abort", {})
    assert (answer.status_code, answer.mimetype) == (404, "application/json")
    said = answer.get_json()
    assert said["message"] == "No such report."
    assert 7 in (said.get("code"), said.get("errors", {}).get("code"))
