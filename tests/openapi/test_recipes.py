"""The recipes of docs/openapi.md, run as they stand there."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from flask_later.testing import run_all

from .recipes import RECIPES, cook

pytestmark = pytest.mark.parametrize("library", RECIPES)


def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def test_the_document_is_valid(library: str) -> None:
    """As the standard has it, and complete."""
    found = document(cook(library))
    validate(found)
    assert {"/reports", "/operations/{id}", "/operations/{id}/result"} <= found["paths"].keys()


def test_the_route_is_described_with_what_is_its_own(library: str) -> None:
    """And with what is ours: the 202, and how to ask for it."""
    operation = document(cook(library))["paths"]["/reports"]["post"]
    assert "requestBody" in operation
    assert {"200", "202", "303", "503"} <= operation["responses"].keys()
    assert {"$ref": "#/components/parameters/Prefer"} in operation["parameters"]
    assert operation["responses"]["200"]["headers"].keys() >= {"Preference-Applied"}


def test_the_document_stays_the_same(library: str) -> None:
    """However often it is asked for."""
    app = cook(library)
    assert document(app) == document(app)


def test_the_route_works(library: str) -> None:
    """From 202 to the result."""
    app = cook(library)
    client = app.test_client()
    answer = client.post("/reports", json={"year": 2026})
    assert answer.status_code == 202
    run_all(app)
    where = answer.headers["Location"]
    assert client.get(where).get_json()["status"] == "succeeded"
    answer = client.get(f"{where}/result")
    assert (answer.status_code, answer.get_json()) == (200, {"rows": 2026})
