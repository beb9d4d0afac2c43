"""The document is valid in each version, and what clients get is as its schemas say."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator, OAS31Validator
from openapi_spec_validator import validate
from tests.web.operations.site import Site

from flask_later import Failure, TryAgain, current_job

VERSIONS = ("3.0.4", "3.1.2", "3.2.0")


def document(site: Site, version: str) -> dict[str, Any]:
    info = {"title": "Reports", "version": "1"}
    year = {"name": "year", "in": "path", "required": True, "schema": {"type": "integer"}}
    paths = {"/reports/{year}": {"post": {"parameters": [year]}}}
    with site.app.app_context():
        return site.later.openapi.add_to({"openapi": version, "info": info, "paths": paths})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "settings", [{}, {"ANONYMOUS_OPERATIONS": False, "OPERATION_LOCATION": True, "EVENTS": True}]
)
def test_the_document_is_valid(version: str, settings: dict[str, Any]) -> None:
    """Whatever the settings put into it."""
    validate(document(Site(**settings), version))


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_operations_are_as_the_schema_says(version: str) -> None:
    """In every state, with no member that is not described."""
    site, seen = Site(), set[str]()

    def look(where: str) -> None:
        found = site.client.get(where).get_json()
        checker.validate(found)
        seen.add(found["status"])

    @site.view("/good")
    def good() -> dict[str, int]:
        current_job.progress(1, 4, "reading")
        look(f"/operations/{current_job.id}")
        return {"rows": 1}

    @site.view("/bad")
    def bad() -> None:
        raise Failure("There is no data.")

    @site.view("/busy")
    def busy() -> None:
        raise TryAgain(60)

    checker = validator(site, version, "Operation")
    for path in ("/good", "/bad", "/busy"):
        where = site.start(path)
        look(where)
        site.run()
        look(where)
    site.client.post(f"{where}/cancel")
    look(where)
    assert seen == {"queued", "running", "succeeded", "failed", "cancelled"}


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_problems_are_as_the_schema_says(version: str) -> None:
    """Those of a refusal, and of a failure."""
    site = Site()

    @site.view("/bad")
    def bad() -> None:
        raise ValueError

    checker = validator(site, version, "Problem")
    where = site.start("/bad")
    site.run()
    for path in (f"/operations/{'0' * 32}", f"{where}/result"):
        checker.validate(site.client.get(path).get_json())


def validator(site: Site, version: str, name: str) -> Any:
    """Return what checks that a document is the schema called *name*, and nothing more."""
    kind = OAS30Validator if version.startswith("3.0") else OAS31Validator
    schema = document(site, version)["components"]["schemas"][name]
    return kind({**schema, "additionalProperties": False}, format_checker=kind.FORMAT_CHECKER)
