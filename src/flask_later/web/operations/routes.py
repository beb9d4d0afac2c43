"""The routes of operations: status, result, cancel, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from flask import Blueprint, Request, Response

from flask_later import signals
from flask_later.core.job import Cancel, Command, Discard, JobRecord, JobState
from flask_later.core.store import DUE
from flask_later.errors import InvalidTransitionError, JobNotFoundError, StoreError
from flask_later.logs import Log
from flask_later.tasks.state import AppState, get_request, get_state

from . import page, static
from .answers import VARY, accepted, final, nothing, require_kept, see_other, shown, unchanged
from .document import etag, is_known, links, retry_after
from .events import Events
from .operation import Operation
from .origin import require_own_origin
from .owner import Access
from .preferences import NONE, preferences_of, prefers_html
from .problems import BUSY, UNKNOWN, problem, refuse
from .waiting import Waiting

_logger = Log(__name__)

#: Registered with the app, so that ``url_for("later_operations.status", ...)`` works as well.
NAME = "later_operations"
_ALL = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Asked(NamedTuple):
    """A request for an operation that its client may see."""

    state: AppState
    request: Request
    operation: Operation


Answer = Callable[[Asked], Response]


class Routes:
    """The routes of one ``Later``."""

    def __init__(self, access: Access, waiting: Waiting) -> None:
        self._access = access
        self._waiting = waiting
        self._events = Events()

    def blueprint(self) -> Blueprint:
        """Return them as a blueprint; its prefix is given where it is registered."""
        blueprint = Blueprint(NAME, __name__, template_folder="templates")
        self._add(blueprint, "", "status", {"GET": self._status, "DELETE": _delete})
        self._add(blueprint, "/result", "result", {"GET": _result})
        self._add(blueprint, "/cancel", "cancel", {"POST": _cancel})
        self._add(blueprint, "/events", "events", {"GET": self._stream})
        blueprint.add_url_rule("/static/<filename>", "static", static.serve)
        return blueprint

    def _add(
        self, blueprint: Blueprint, path: str, endpoint: str, methods: Mapping[str, Answer]
    ) -> None:
        """Answer all methods ourselves, so that a wrong one is told by a problem as well."""
        heads = ["HEAD"] if "GET" in methods else []
        allow = {"Allow": ", ".join([*methods, *heads, "OPTIONS"])}

        def view(operation_id: str) -> Response:
            request = get_request()
            method = "GET" if heads and request.method == "HEAD" else request.method
            if method == "OPTIONS":
                return nothing(allow)
            answer = methods.get(method)
            if answer is None:
                return problem(405, f"{method} is not for this resource.", allow)
            state = get_state("an operation was asked for", "...")
            if method != "GET":
                require_own_origin(request, state.settings.trusted_origins)
            try:
                operation = self._access.find(state, operation_id)
                return answer(Asked(state, request, operation))
            except StoreError as error:
                _logger.warning("a request for an operation was answered 503: %s", error)
                return problem(503, "This cannot be looked up right now.", BUSY)

        blueprint.add_url_rule(
            f"/<operation_id>{path}",
            endpoint,
            view,
            methods=_ALL,
            provide_automatic_options=False,
        )

    def _status(self, asked: Asked) -> Response:
        state, request, operation = asked
        require_kept(state, operation)
        if prefers_html(request):
            return page.show(state, request, operation)
        # HEAD has no body to wait for.
        preferences = NONE if request.method == "HEAD" else preferences_of(request)
        known = request.environ.get("HTTP_IF_NONE_MATCH")
        waited = self._waiting.wait(state, request, operation, preferences.wait, known)
        operation = waited.operation
        if known is not None and is_known(etag(operation.record), known):
            response = unchanged(state, operation)
        else:
            response = shown(state, operation, links(request, state.settings, operation.id))
        if waited.seconds is not None:
            response.headers["Preference-Applied"] = f"wait={waited.seconds}"
        return response

    def _stream(self, asked: Asked) -> Response:
        state, request, operation = asked
        require_kept(state, operation)
        if not state.settings.events:
            refuse(404, "There are no events here. Ask for the status instead.")
        return self._events.respond(state, request, operation)


def _result(asked: Asked) -> Response:
    state, request, operation = asked
    require_kept(state, operation)
    where = links(request, state.settings, operation.id)
    if not operation.is_done:
        pause = str(retry_after(operation.record, state.clock.now()))
        headers = {"Retry-After": pause}
        return problem(409, "The operation is not finished.", headers, instance=where.self)
    if operation.result_url is not None:
        return see_other(operation.result_url)
    return final(state, request, operation, where)


def _cancel(asked: Asked) -> Response:
    state, request, operation = asked
    record = _command(state, operation, Cancel())
    if record.state is JobState.CANCELLED:
        signals.send(signals.job_cancelled, state.app, job=record, exception=None)
    else:
        # Maintenance passes the request to stop on to the task, and does so now.
        state.store.wake((DUE,))
    operation = operation._replace(record=record)
    if prefers_html(request):
        return see_other(links(request, state.settings, operation.id).self)
    if operation.is_done:
        return shown(state, operation, links(request, state.settings, operation.id))
    return accepted(state, request, operation)


def _delete(asked: Asked) -> Response:
    state, _, operation = asked
    _command(state, operation, Discard())
    return nothing({"Vary": VARY})


def _command(state: AppState, operation: Operation, command: Command) -> JobRecord:
    try:
        return state.store.command(operation.id, command)
    except InvalidTransitionError as error:
        refuse(409, f"Cannot do that: the operation is {error.state}.")
    except JobNotFoundError:
        refuse(404, UNKNOWN)
