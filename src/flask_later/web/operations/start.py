"""How an operation is started: what is refused, what is stored, and what the client gets."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from flask_later.core.job import Annotate, Cancel, Discard, JobRecord, UniqueUntil
from flask_later.core.store import Store
from flask_later.errors import (
    InvalidTransitionError,
    JobNotFoundError,
    PayloadTooLargeError,
    PrincipalQueueFullError,
    QueueFullError,
    StoreError,
    UnsupportedError,
)
from flask_later.logs import Log
from flask_later.tasks import enqueue
from flask_later.tasks.ids import new_id
from flask_later.tasks.job import Job
from flask_later.tasks.snapshot import made_operation
from flask_later.tasks.state import AppState, get_request
from flask_later.tasks.task import Task

from . import idempotency, requests
from .answers import VARY, accepted, final, require_kept, see_other
from .document import links
from .operation import Operation, operation
from .owner import Access, require_principal
from .preferences import preferences_of, prefers_html
from .problems import BUSY, problem, refuse
from .waiting import Waiting

_logger = Log(__name__)


class Call(NamedTuple):
    """A view that is to run in a job of *task*."""

    task: Task[..., Any]
    args: list[object]
    kwargs: dict[str, object]
    #: The media types of the bodies that it takes; None for any.
    accepts: Collection[str] | None = None
    #: What people read above its progress; a text, or what becomes one in their language.
    title: object = None


class Start:
    """Starts the operations of one ``Later``."""

    def __init__(self, access: Access, waiting: Waiting) -> None:
        self._access = access
        self._waiting = waiting

    def view(self, call: Call) -> Response:
        """Start a view for the current request."""
        request = get_request()
        if request.method == "HEAD":
            # It must not begin anything, and so there is nothing that it could point to.
            return Response(status=202, headers={"Vary": VARY})
        state = enqueue.state_of(call.task)
        require_mounted(state)
        principal = require_principal(self._access, state)
        key = idempotency.key_of(request)
        job_id = new_id()
        with _refusals(), _undoing(state.store, job_id):
            record = _record(state, request, call, principal, key, job_id)
            job = enqueue.store(state, [record])[0]
        if job.duplicate:
            return self._replayed(state, request, record, job.record)
        return self._answer(state, request, job.record)

    def job(
        self, state: AppState, job: Job[Any], result_url: str | None, title: object
    ) -> Response:
        """Make an operation of a job of the app's own."""
        request = get_request()
        require_mounted(state)
        if job.duplicate:
            return self._taken(state, request, job.record)
        with _refusals():
            try:
                principal = require_principal(self._access, state)
                named = None if title is None else str(title)
                made = Operation(job.record, principal, result_url=result_url, title=named)
                context = made_operation(job.record.context, made.facts())
                record = state.store.command(job.id, Annotate(context, principal))
            except (HTTPException, PrincipalQueueFullError):
                _undo(state, job)
                raise
        return self._answer(state, request, record)

    def _answer(self, state: AppState, request: Request, record: JobRecord) -> Response:
        """Return the 202; or the result, if it is there within the time that the client waits."""
        found = operation(record)
        assert found is not None, "it was stored as one"
        where = links(request, state.settings, found.id)
        if prefers_html(request):
            return see_other(where.self)
        preferences = preferences_of(request)
        found, seconds = self._waiting.wait(state, request, found, preferences.wait)
        applied = [] if seconds is None else [f"wait={seconds}"]
        if found.is_done and seconds is not None:
            response = final(state, request, found, where)
            response.headers["Content-Location"] = where.result
        else:
            response = accepted(state, request, found)
            if preferences.respond_async:
                applied.insert(0, "respond-async")
        response.headers["Vary"] = VARY
        if applied:
            response.headers["Preference-Applied"] = ", ".join(applied)
        return response

    def _replayed(
        self, state: AppState, request: Request, sent: JobRecord, there: JobRecord
    ) -> Response:
        """Answer a request whose ``Idempotency-Key`` was there already."""
        if sent.id != there.id:
            _delete_files(state.store, sent.id)
        new, found = operation(sent), operation(there)
        assert new is not None, "it was made as one"
        if found is None or found.fingerprint != new.fingerprint:
            refuse(422, "This Idempotency-Key was used for another request.")
        require_kept(state, found)
        response = self._answer(state, request, there)
        response.headers["Idempotent-Replayed"] = "true"
        return response

    def _taken(self, state: AppState, request: Request, record: JobRecord) -> Response:
        """Say that there is such a job, and where, if it is one that this client may see."""
        found = operation(record)
        members: dict[str, Any] = {}
        if found is not None and self._access.may_see(state.app, found):
            members["operation"] = links(request, state.settings, found.id).self
        return problem(409, "The same is being done already.", **members)


def _record(
    state: AppState,
    request: Request,
    call: Call,
    principal: str | None,
    key: str | None,
    job_id: str,
) -> JobRecord:
    """Return what is to be stored for *request*, whose body is kept already if it is large."""
    settings, store = state.settings, state.store
    body = requests.read_body(request, settings, store, job_id, call.accepts)
    facts: dict[str, object] = {"owner": principal, "is_view": True}
    if call.title is not None:
        facts["title"] = str(call.title)
    if key is not None:
        with body.opened(store, job_id) as stream:
            facts["fingerprint"] = idempotency.fingerprint(request, body.content_type, stream)
    args = (requests.stored(request, body, settings.request_headers), call.args, call.kwargs)
    record = enqueue.make_record(state, call.task, args, {}, facts)
    record = record._replace(id=job_id, principal=principal)
    if key is None:
        return record
    held = idempotency.unique_key(principal, key)
    return record._replace(unique_key=held, unique_until=UniqueUntil.GONE)


def require_mounted(state: AppState) -> None:
    """Refuse to start what nobody could follow.

    :raises UnsupportedError: if ``LATER_OPERATIONS`` is None.
    """
    if state.settings.operations is None:
        raise UnsupportedError(
            "An async route",
            "clients could not follow it, since LATER_OPERATIONS is None",
            "Set LATER_OPERATIONS = '/operations'.",
        )


@contextmanager
def _refusals() -> Generator[None]:
    """Answer with a problem where nothing was stored."""
    try:
        yield
    except HTTPException as error:
        if error.code is None:
            raise
        refuse(error.code, error.description or "The request is refused.")
    except PayloadTooLargeError:
        refuse(413, "The request is too large.")
    except PrincipalQueueFullError as error:
        _logger.info("a request was answered 429: %s", error)
        refuse(429, "Too much of yours waits to be done already. Try again later.", BUSY)
    except QueueFullError as error:
        _logger.warning("a request was answered 503: %s", error)
        refuse(503, "Too much waits to be done already. Try again later.", BUSY)
    except StoreError as error:
        _logger.warning("a request was answered 503: %s", error)
        refuse(503, "This cannot be stored right now. Try again later.", BUSY)


@contextmanager
def _undoing(store: Store, job_id: str) -> Generator[None]:
    """Leave no file behind of a job that is not stored."""
    try:
        yield
    except BaseException:
        _delete_files(store, job_id)
        raise


def _delete_files(store: Store, job_id: str) -> None:
    # A store that keeps no files has none to delete.
    with suppress(UnsupportedError):
        store.files.delete([job_id])


def _undo(state: AppState, job: Job[Any]) -> None:
    """Leave nothing behind of a job whose client is refused; one that runs is asked to stop."""
    with suppress(InvalidTransitionError, JobNotFoundError):
        state.store.command(job.id, Cancel())
        state.store.command(job.id, Discard())
