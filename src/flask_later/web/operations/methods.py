"""Views that are methods of a class: as Flask makes an object for each request, so does the job."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, request

from flask_later.errors import InvalidTaskError
from flask_later.tasks.task import is_method

Method = Callable[..., Any]


def is_view_method(view: Callable[..., Any]) -> bool:
    """Whether *view*, or what its decorators wrap, is written as a method."""
    return is_method(inspect.unwrap(view))


def with_object(method: Method) -> Callable[..., Any]:
    """Return *method* as a view that makes its object itself: this is what the job runs."""

    @wraps(method)
    def view(*args: Any, **kwargs: Any) -> Any:
        return method(_class_of_view()(), *args, **kwargs)

    return view


def without_object(start: Callable[..., Response]) -> Callable[..., Response]:
    """Return *start* as a method that leaves its object behind: this is what the request calls."""

    @wraps(start)
    def method(_: object, /, *args: Any, **kwargs: Any) -> Response:
        _class_of_view()
        return start(*args, **kwargs)

    return method


def _class_of_view() -> type[Any]:
    """Return the class of the current request's view.

    :raises InvalidTaskError: if a job could not make an object of it, or not an equal one.
    """
    view = current_app.view_functions[str(request.endpoint)]
    found: type[Any] | None = getattr(view, "view_class", None)
    if found is None or inspect.signature(found).parameters:
        raise InvalidTaskError(
            f"The view {request.endpoint!r}",
            "is a method of an object that a job cannot make anew, so it cannot be an async route",
            "Let its class be a MethodView whose __init__ takes nothing, or write a function.",
        )
    return found
