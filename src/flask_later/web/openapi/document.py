"""``later.openapi``: completes the document that another library has made of the app."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import cast

from flask import Flask

from flask_later.config import Settings
from flask_later.tasks.state import get_state

from . import ASYNC_ROUTE, paths
from .components import components
from .schemas import for_version
from .tree import Part, changed, fill

_LATEST = "3.1.0"
#: ``<int:year>`` of Flask is ``{year}`` in OpenAPI.
_VARIABLE = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
_REFERENCE = "#/components/"


class OpenAPI:
    """What an OpenAPI document says of async routes and of their operations, as plain dicts.

    They are valid in OpenAPI 3.0, 3.1 and 3.2, and those of the current app: they depend on where
    its operations are, and on what its settings let clients do.
    """

    def add_to(self, document: Part) -> Part:
        """Add to *document* what it does not say yet, and return it.

        These are the components, the routes of operations, and the parameters and responses of
        each async route that it describes. What is there stays; a component of ours whose name is
        taken gets ``Later`` in front of it.

        :raises OutsideAppContextError: where no app is active.
        """
        version = document.get("openapi", _LATEST)
        ours = {
            "components": self.components(version),
            "paths": self.paths(),
            "route": self.route(),
        }
        ours = _with_free_names(ours, document.get("components", {}))
        route = ours.pop("route")
        fill(document, ours)
        for operation in _async_routes(_app("add_to"), document["paths"]):
            _complete(document, operation, route)
        return document

    def components(self, version: str = _LATEST) -> Part:
        """Return the components: schemas, parameters, headers and responses.

        :param version: the OpenAPI of the document, since each has words of its own.
        :raises OutsideAppContextError: where no app is active.
        """
        return for_version(components(_settings("components")), version)

    def paths(self) -> Part:
        """Return the routes of operations, under the path where the current app has them.

        :raises OutsideAppContextError: where no app is active.
        """
        return paths.operations(_settings("paths"))

    def route(self) -> Part:
        """Return the parameters and responses that an async route has beside its own.

        ``add_to`` knows where they belong, except for a view that answers with
        ``later.accepted(job)``.

        :raises OutsideAppContextError: where no app is active.
        """
        return paths.route(_settings("route"))


def _app(asked: str) -> Flask:
    return get_state(f"later.openapi.{asked}() was called", "...").app


def _settings(asked: str) -> Settings:
    # Not those of the state: they freeze, and its store is opened, at the first use.
    return Settings.from_config(_app(asked).config)


# Names


def _with_free_names(ours: Part, theirs: Part) -> Part:
    """Return *ours* with another name for each component that is another one in *theirs*."""
    taken = {
        f"{_REFERENCE}{kind}/{name}": f"{_REFERENCE}{kind}/Later{name}"
        for kind, named in ours["components"].items()
        for name, component in named.items()
        if theirs.get(kind, {}).get(name, component) != component
    }
    if not taken:
        return ours
    renamed = changed(ours, lambda part: _renamed(part, taken))
    for kind, named in renamed["components"].items():
        for name in [*named]:
            if f"{_REFERENCE}{kind}/{name}" in taken:
                named[f"Later{name}"] = named.pop(name)
    return renamed


def _renamed(part: Part, names: Mapping[str, str]) -> Part:
    target = part.get("$ref", "")
    return {**part, "$ref": names[target]} if target in names else part


# Routes


def _async_routes(app: Flask, described: Part) -> Iterator[Part]:
    """Return the operation object of each async route that is *described*."""
    for rule in app.url_map.iter_rules():
        methods = described.get(_VARIABLE.sub(r"{\1}", rule.rule), {})
        for method in {*methods} & {name.lower() for name in rule.methods or ()}:
            view = app.view_functions[rule.endpoint]
            # The view of a class is one function for all of its methods.
            own = getattr(getattr(view, "view_class", None), method, None)
            if hasattr(view, ASYNC_ROUTE) or hasattr(own, ASYNC_ROUTE):
                yield methods[method]


def _complete(document: Part, operation: Part, ours: Part) -> None:
    """Add to the *operation* object of a route what it lacks of *ours*."""
    parameters = operation.setdefault("parameters", [])
    known = {_resolved(document, each).get("name") for each in parameters}
    parameters += [
        each for each in ours["parameters"] if _resolved(document, each)["name"] not in known
    ]
    responses = operation.setdefault("responses", {})
    for status, response in ours["responses"].items():
        _add(document, responses, status, response)
    final = [status for status in responses if status.startswith("2") and status != "202"]
    for status in final or ["200"]:
        _add(document, responses, status, paths.finished())


def _add(document: Part, responses: Part, status: str, ours: Part) -> None:
    """Add the response for *status*, or what the one that is there lacks."""
    there = responses.get(status, ours)
    if there == ours:
        responses[status] = ours
        return
    both = deepcopy(_resolved(document, there))
    fill(both, deepcopy(_resolved(document, ours)))
    responses[status] = both


def _resolved(document: Part, part: Part) -> Part:
    """Return what *part* is, or refers to in the components of *document*."""
    target = part.get("$ref", "")
    if not target.startswith(_REFERENCE):
        return part
    kind, _, name = target.removeprefix(_REFERENCE).partition("/")
    return cast("Part", document["components"].get(kind, {}).get(name, part))
