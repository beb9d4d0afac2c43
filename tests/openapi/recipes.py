"""The recipes of the page, each an app of its own."""

from __future__ import annotations

from typing import Any

from flask import Flask
from tests.docs.pages import read

#: By the library that makes the document.
RECIPES = ("APIFlask", "flask-smorest", "apispec")


def cook(library: str) -> Flask:
    """Run the recipe for *library*, and return the app that it makes, to be worked by hand."""
    blocks = [block for block in read("docs/openapi.md").blocks if "recipe" in block.notes]
    [block] = [block for block in blocks if _used(block.text) == library]
    program: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(block.text, f"the recipe for {library}", "exec"), program)  # noqa: S102
    app: Flask = program["app"]
    app.testing = True
    return app


def _used(text: str) -> str:
    modules = {"apiflask": "APIFlask", "flask_smorest": "flask-smorest", "apispec": "apispec"}
    return next(name for module, name in modules.items() if f"from {module} import" in text)
