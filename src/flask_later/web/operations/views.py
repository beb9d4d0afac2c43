"""A view as a task: it runs in the job, and sees an equal request."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import update_wrapper
from types import CoroutineType
from typing import Any, cast

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError

from flask_later.core.naming import module_name
from flask_later.core.retry import FailedWith, Failure, TryAgain
from flask_later.logs import Log
from flask_later.tasks.current import current_job
from flask_later.tasks.state import AppState, get_state

from . import requests, responses
from .owner import Access

_logger = Log(__name__)

View = Callable[..., Any]
#: The arguments of a view, by place and by name.
Arguments = tuple[list[object], dict[str, object]]
#: Characters of what an error says that are told with the operation; the result has them all.
_LONGEST_DETAIL = 1_000


def run_in_job(view: View, access: Access) -> View:
    """Return what a job calls: it takes a stored request, and returns a stored response."""

    def task(request: requests.Stored, args: list[object], kwargs: dict[str, object]) -> object:
        return _run(view, access, request, args, kwargs)

    # The place and the names are the view's, the signature is not.
    update_wrapper(task, view)
    task.__annotations__ = {}
    task.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
    return task


_SIGNATURE = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ("request", "args", "kwargs")
    ]
)


def _run(
    view: View,
    access: Access,
    asked: requests.Stored,
    args: list[object],
    kwargs: dict[str, object],
) -> object:
    with _requested(access, asked) as replay, replay.crashes():
        try:
            answer = view(*args, **kwargs)
        except Exception as error:
            answer = replay.handle(error)
        # Asked of what came out: a decorator may have awaited what it wraps, or not.
        if not isinstance(answer, CoroutineType):
            return replay.finish(answer)
    # Nothing of the view has run yet. It does where the event loop is, in such a request again.
    return _awaited(cast("Awaitable[Any]", answer), access, asked)


async def _awaited(coroutine: Awaitable[Any], access: Access, asked: requests.Stored) -> object:
    with _requested(access, asked) as replay, replay.crashes():
        try:
            answer = await coroutine
        except Exception as error:
            answer = replay.handle(error)
        return replay.finish(answer)


@contextmanager
def _requested(access: Access, asked: requests.Stored) -> Generator[_Replay]:
    """Be in a request that equals *asked*, as its principal."""
    state = get_state("an async route ran", "...")
    app = state.app
    environ = requests.environ_of(asked, state.store, current_job.id)
    with environ as given, app.request_context(given) as context:
        _preprocess_url(app)
        operation = current_job.snapshot.operation or {}
        restore, owner = access.identity_of(app).restore, operation.get("owner")
        if restore is not None and owner is not None:
            restore(str(owner))
        yield _Replay(state, context)


def _preprocess_url(app: Flask) -> None:
    """Let the app read the URL: what that leaves in ``g`` is wanted by ``url_for``."""
    for name in (None, *reversed(request.blueprints)):
        for function in app.url_value_preprocessors.get(name, ()):
            function(request.endpoint, request.view_args)


class _Replay:
    """What follows on a view in a job, as on one in a request."""

    def __init__(self, state: AppState, context: Any) -> None:
        self._state = state
        self._context = context
        self._detail: str | None = None

    @contextmanager
    def crashes(self) -> Generator[None]:
        """Have an error that leaves the view fail the job, with the answer of the app to a crash.

        Not one that says itself what is to become of the job, nor if the view is tried again.
        """
        try:
            yield
        except Exception as error:
            if self._is_for_the_job(error):
                raise
            answer = self._answer_to_crash(error)
            if answer is None:
                raise
            raise FailedWith(error, answer) from error

    def _answer_to_crash(self, error: Exception) -> object:
        """Return the response of the app's handler, to be stored; None if there is none."""
        crash = InternalServerError(original_exception=error)
        try:
            answer = self._state.app.handle_http_exception(crash)
            return None if answer is crash else self.finish(answer, "crash")
        except Exception:
            _logger.exception("the app's handler of errors raised, after job %s", current_job.id)
            return None

    def handle(self, error: Exception) -> Any:
        """Return what the app makes of *error*, which is being handled.

        Raises it again if the app makes nothing of it, or if it is for the job.
        """
        if self._is_for_the_job(error):
            raise error
        # Werkzeug's own texts are those of the classes: they speak of a request, not of the work.
        if isinstance(error, HTTPException) and "description" in vars(error):
            self._detail = str(error.description)[:_LONGEST_DETAIL]
        return self._state.app.handle_user_exception(error)

    def _is_for_the_job(self, error: Exception) -> bool:
        """Whether *error* says what becomes of the job, or the view is tried again because of it.

        No handler of the app is asked then.
        """
        if isinstance(error, (TryAgain, Failure)):
            return True
        if isinstance(error, HTTPException):
            return False
        task = self._state.registry.get(current_job.task)
        if task is None:
            return False
        return task.options.retry.is_worth(current_job.failures + 1, error)

    def finish(self, answer: Any, kind: str = "response") -> object:
        """Return the response that *answer* stands for, to be stored.

        :param kind: what its file is called, if it is so large.
        """
        app = self._state.app
        response = self._after_request(app, app.make_response(answer))
        chunks = response.get_app_iter(request.environ)
        try:
            state, file = self._state, f"{kind}-{current_job.fence}"
            made = responses.stored(
                response, chunks, state.settings, state.store, current_job.id, file
            )
            return made._replace(detail=self._detail).value()
        finally:
            response.close()

    def _after_request(self, app: Flask, response: Response) -> Response:
        """Call what is to follow on this view; what follows on every view follows on the result."""
        for function in self._context._after_request_functions:
            response = function(response)
        for name in request.blueprints:
            for function in reversed(app.after_request_funcs.get(name, ())):
                response = app.ensure_sync(function)(response)
        return response


def view_name(view: View) -> str:
    """Return what the task of *view* is called: ``module.function``.

    The view of a class is called like its endpoint; its ``__qualname__`` is that of all others.
    """
    name = view.__name__ if view.__qualname__.startswith("View.as_view.") else view.__qualname__
    return f"{module_name(view.__module__)}.{name.replace('<locals>.', '')}"
