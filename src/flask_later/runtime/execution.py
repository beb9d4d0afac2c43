"""One attempt of a job: from stored arguments to an outcome."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import datetime, timedelta
from pathlib import Path
from types import CoroutineType, TracebackType
from typing import Any, NamedTuple, cast

from flask_later import signals
from flask_later.core import payload
from flask_later.core.exchange import (
    Again,
    Cancelled,
    Claim,
    Failed,
    Outcome,
    Parked,
    Released,
    Succeeded,
)
from flask_later.core.job import ErrorRecord, JobRecord, StopReason
from flask_later.core.retry import FailedWith, Failure, Retry, TryAgain
from flask_later.errors import (
    MalformedPayloadError,
    NotSerializableError,
    PayloadTooLargeError,
    UnknownClassError,
)
from flask_later.errors.words import closest
from flask_later.runtime.context import JobContext, explain_request_use
from flask_later.runtime.threads import is_interrupt
from flask_later.tasks import snapshot
from flask_later.tasks.current import Attempt, JobStopped, current_attempt, storable
from flask_later.tasks.snapshot import Snapshot
from flask_later.tasks.state import AppState
from flask_later.tasks.task import Task

#: Characters kept of an error's message, and of its traceback (the end of it).
_MAX_MESSAGE, _MAX_TRACEBACK = 2_000, 16_000

#: Where the frames stand that lead to a task. asyncio is beside traceback, and is not imported for
#: apps that have no use for it.
_LEADING = (str(Path(__file__).parents[1]), str(Path(traceback.__file__).parent / "asyncio"))

#: Runs a coroutine to its end on the caller's thread.
RunCoroutine = Callable[[Coroutine[Any, Any, Any], Attempt], Any]


class Ended(NamedTuple):
    """How an attempt ended: what the store is told, and what was raised."""

    outcome: Outcome
    exception: BaseException | None = None


class Call(NamedTuple):
    """What a stored job calls."""

    task: Task[..., Any]
    args: tuple[object, ...]
    kwargs: dict[str, object]
    snapshot: Snapshot


def find_call(state: AppState, record: JobRecord) -> Call | Ended:
    """Find the function of a job and bind its arguments, or say why that cannot be."""
    task = state.registry.get(record.task)
    if task is None:
        return Ended(Parked(_claim_of(record), _unknown_task(state, record)))
    try:
        args, kwargs = payload.load_call(record.payload)
        crossed = snapshot.load(record.context)
    except UnknownClassError as error:
        # Code that is newer, or older, may have it: a deployment rolls in any order.
        unknown = ErrorRecord("UnknownClass", str(error)[:_MAX_MESSAGE])
        return Ended(Parked(_claim_of(record), unknown, task.definition.digest))
    except MalformedPayloadError as error:
        return Ended(Failed(_claim_of(record), describe(error)), error)
    definition = task.definition
    if not definition.fits(args, kwargs):
        reason = definition.misfit(args, kwargs)
        message = f"{record.task}{definition.signature}: {reason}"
        misfit = ErrorRecord("ArgumentsError", message[:_MAX_MESSAGE])
        return Ended(Parked(_claim_of(record), misfit, definition.digest))
    return Call(task, args, kwargs, crossed)


def _claim_of(record: JobRecord) -> Claim:
    return Claim(record.id, record.fence)


def run(
    state: AppState, call: Call, attempt: Attempt, record: JobRecord, run_coroutine: RunCoroutine
) -> Ended:
    """Call the function in a context of its own, and judge what came of it."""
    # A new one, so that a job sees nothing of the jobs before it, nor of a request around it.
    return Context().run(_run, state, call, attempt, record, run_coroutine)


def _run(
    state: AppState, call: Call, attempt: Attempt, record: JobRecord, run_coroutine: RunCoroutine
) -> Ended:
    current_attempt.set(attempt)
    try:
        with JobContext(state.app, call.snapshot.base_url, state.settings.base_url):
            signals.send(signals.job_started, state.app, job=record)
            state.registry.carriers.restore(call.snapshot.carried)
            result = call.task.definition.function(*call.args, **call.kwargs)
            # Also of a decorator that knows nothing of the async function it wraps.
            if isinstance(result, CoroutineType):
                result = run_coroutine(cast("Coroutine[Any, Any, Any]", result), attempt)
    except BaseException as error:
        if is_interrupt(error):
            raise
        # One that nobody asked for is a failure: given back, the job would run at once, for ever.
        if isinstance(error, JobStopped) and attempt.cancelled:
            return Ended(_stopped(attempt), error)
        return _raised(state, call, attempt, record, error)
    return _returned(state, attempt.claim, result)


def _raised(
    state: AppState, call: Call, attempt: Attempt, record: JobRecord, error: BaseException
) -> Ended:
    left = None
    if isinstance(error, FailedWith):
        left, error = error.result, error.error
    explain_request_use(error, attempt.task)
    retry = call.task.options.retry
    ended = judge(attempt.claim, retry, record.failures, error, state.clock.now())
    if left is None or not isinstance(ended.outcome, Failed):
        return ended
    text = _stored(state, left)
    return ended._replace(outcome=ended.outcome._replace(result=text))


def judge(
    claim: Claim,
    retry: Retry,
    failures: int,
    error: BaseException,
    now: datetime,
    *,
    taken: bool = False,
) -> Ended:
    """Decide what follows from *error*, which is failure number ``failures + 1``."""
    if isinstance(error, TryAgain):
        return Ended(Again(claim, now + timedelta(seconds=error.delay)), error)
    if isinstance(error, Failure):
        record = ErrorRecord("Failure", _message(error), public=True)
        return Ended(Failed(claim, record), error)
    delay = retry.delay_after(failures + 1, error, _rng)
    if delay is None:
        return Ended(Failed(claim, describe(error), taken), error)
    return Ended(Again(claim, now + timedelta(seconds=delay), describe(error), taken), error)


def describe(error: BaseException) -> ErrorRecord:
    """Return *error* as text. The values of local variables are never part of it."""
    return ErrorRecord(type(error).__qualname__, _message(error), _traceback(error))


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:
        text = f"<unprintable {type(error).__qualname__}>"
    return storable(text)[:_MAX_MESSAGE]


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, _frames(error), limit=-50)
    except BaseException:
        return ""
    return storable("".join(lines))[-_MAX_TRACEBACK:]


def _frames(error: BaseException) -> TracebackType | None:
    """Return the traceback from the task on: the frames that lead there say nothing about it."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_LEADING):
        frames = frames.tb_next
    return frames or error.__traceback__


def _returned(state: AppState, claim: Claim, result: object) -> Ended:
    try:
        text = _stored(state, result)
    except (NotSerializableError, PayloadTooLargeError) as error:
        # Not tried again: the function has done its work, and would do it twice.
        return Ended(Failed(claim, describe(error)), error)
    return Ended(Succeeded(claim, text))


def _stored(state: AppState, result: object) -> str:
    limit = state.settings.max_result
    return payload.dumps(result, where="the result", max_bytes=limit, setting="LATER_MAX_RESULT")


def _stopped(attempt: Attempt) -> Outcome:
    cancelled = attempt.stop_reason is StopReason.CANCELLED
    return Cancelled(attempt.claim) if cancelled else Released(attempt.claim)


def _unknown_task(state: AppState, record: JobRecord) -> ErrorRecord:
    known = state.registry.names()
    message = (
        f"No task {record.task!r} is known here.{closest(record.task, known)} "
        f"Known tasks: {len(known)} (flask later tasks). Is its module imported by create_app()? "
        f"Was it renamed? Then add @later.task(aliases=[{record.task!r}]). "
        f"The job is parked, and runs when a worker knows its task."
    )
    return ErrorRecord("UnknownTask", message[:_MAX_MESSAGE])


_rng = random.Random()
