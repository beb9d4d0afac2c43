"""What machines read of the shop: its OpenAPI document, to which Flask-Later adds its own part."""

from __future__ import annotations

from typing import Any

import ledger
from flask import Blueprint
from tasks import later

api = Blueprint("api", __name__)


@api.get("/openapi.json")
def document() -> dict[str, Any]:
    info = {"title": "The shop", "version": "1"}
    paths = {"/reports": {"post": report()}}
    return later.openapi.add_to({"openapi": "3.1.0", "info": info, "paths": paths})


def report() -> dict[str, Any]:
    year = {"type": "integer", "enum": [*ledger.YEARS]}
    form = {"type": "object", "required": ["year"], "properties": {"year": year}}
    text = {"schema": {"type": "string"}}
    return {
        "operationId": "reportSales",
        "summary": "Sales of a year",
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": form}},
        },
        "responses": {
            "200": {"description": "A row for each item and month.", "content": {"text/csv": text}},
            "422": {"description": "No such ledger is kept.", "content": {"text/html": text}},
        },
    }
