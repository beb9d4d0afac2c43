"""How a call becomes a stored job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask_later import signals
from flask_later.config import Settings
from flask_later.core import payload
from flask_later.core.job import JobRecord, hints_to
from flask_later.core.states import waiting_state
from flask_later.core.store import DUE, Store
from flask_later.errors import (
    JobNotFoundError,
    NotInitializedError,
    NotServingError,
    UnknownQueueError,
    UnsupportedError,
)
from flask_later.tasks.current import current_attempt
from flask_later.tasks.ids import new_id
from flask_later.tasks.job import Job, read
from flask_later.tasks.snapshot import capture
from flask_later.tasks.state import AppState, find_state, get_state

if TYPE_CHECKING:
    from flask_later.tasks.task import Call, Task


def one(task: Task[..., Any], args: tuple[object, ...], kwargs: Mapping[str, object]) -> Job[Any]:
    """Store one job and hint at it. See :meth:`flask_later.Task.enqueue`."""
    state = state_of(task)
    return store(state, [make_record(state, task, args, kwargs)])[0]


def many(calls: Sequence[Call[Any]]) -> list[Job[Any]]:
    """Store the jobs of *calls* in one commit: all of them, or none."""
    if not calls:
        return []
    state, records = _records_of(calls)
    return store(state, records)


def many_within(calls: Sequence[Call[Any]], transaction: object) -> list[Job[Any]]:
    """Store the jobs of *calls* in a transaction of the caller's; hint at them after its commit."""
    if not calls:
        return []
    state, records = _records_of(calls)
    state.ensure_started()

    def committed(stored: Sequence[JobRecord]) -> None:
        _hint(state, stored)
        for record in stored:
            signals.send(signals.job_enqueued, state.app, job=record)

    added = state.store.add_within(records, transaction, committed)
    return [Job(answer.record, state, not answer.created) for answer in added]


def _records_of(calls: Sequence[Call[Any]]) -> tuple[AppState, list[JobRecord]]:
    states = [state_of(call.task) for call in calls]
    state = states[0]
    return state, [make_record(state, call.task, call.args, call.kwargs) for call in calls]


def find(job_id: str, task: Task[..., Any]) -> Job[Any]:
    """Return a job of *task*; another task's does not exist for it."""
    state = state_of(task)
    record = read(state, job_id)
    if state.registry.get(record.task) is not state.registry.get(task.name):
        raise JobNotFoundError(job_id, f"It is a job of {record.task!r}, not of {task.name!r}.")
    return Job(record, state)


def state_of(task: Task[..., Any]) -> AppState:
    """Return the current app's state, if its ``Later`` knows *task*."""
    state = find_state()
    if state is not None:
        known = state.registry.get(task.definition.name)
        if known is not None and (known is task or state.registry.has_met(task)):
            return state
    asked = f"Task {task.name!r}"
    state = get_state(f"{asked} was enqueued", f"{task.definition.short_name}.enqueue(...)")
    raise NotInitializedError(state.app.name, state.owner, asked)


def store(state: AppState, records: Sequence[JobRecord]) -> list[Job[Any]]:
    """Store *records* in one commit, and hint at those that may run now."""
    if not state.ensure_started() and not state.store.durable:
        raise NotServingError(
            state.app.name,
            "its memory store would lose the job",
            "keep jobs for the processes that serve: LATER_STORE = 'sqlite:///later.sqlite3'",
        )
    added = state.store.add(records)
    # Nobody need hear of what somebody has got.
    _hint(state, [record for record, created, claimed in added if created and not claimed])
    for record, created, _ in added:
        if created:
            signals.send(signals.job_enqueued, state.app, job=record)
    return [Job(record, state, not created) for record, created, _ in added]


def _hint(state: AppState, stored: Sequence[JobRecord]) -> None:
    """Hint at those of *stored* that may run now, and tell of those that wait for their time."""
    hints = hints_to(state.store.identity, stored)
    if hints:
        state.engine.deliver(hints)
    if len(hints) < len(stored):
        state.store.wake((DUE,))


def make_record(
    state: AppState,
    task: Task[..., Any],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    operation: Mapping[str, object] | None = None,
) -> JobRecord:
    """Return the record of a call that is not stored yet.

    :param operation: what makes it an operation that clients may follow.
    """
    task.require_fit(args, kwargs)
    options, settings, definition = task.options, state.settings, task.definition
    if settings.queues is not None and options.queue not in settings.queues:
        raise UnknownQueueError(options.queue, settings.queues)
    if options.durable:
        require_durable(task, state.settings, state.store)
    now = state.clock.now()
    run_at = options.run_at(now)
    return JobRecord(
        new_id(),
        definition.name,
        options.queue,
        payload.dump_call(
            args,
            kwargs,
            task=definition.name,
            names=definition.parameter_names,
            max_bytes=settings.max_arguments,
            setting="LATER_MAX_ARGUMENTS",
        ),
        waiting_state(run_at, now),
        now,
        run_at,
        options.priority,
        capture(state.registry.carriers, current_attempt.get().snapshot, operation),
        options.timeout,
        options.unique_key,
        unique_until=options.unique_until,
        key_free_at=_after(now, options.unique_for),
        expires_at=_after(run_at, options.expires),
    )


def _after(instant: datetime, seconds: float | None) -> datetime | None:
    """Return when *seconds* are over; None for never."""
    if seconds is None:
        return None
    try:
        return instant + timedelta(seconds=seconds)
    except OverflowError:
        # No calendar goes that far.
        return None


def require_durable(task: Task[..., Any], settings: Settings, store: Store) -> None:
    """Refuse a task that must not be lost where the store would lose it.

    Nobody chose the store that is left to the default, which is the memory in tests only.

    :raises UnsupportedError: then.
    """
    if task.options.durable and not store.durable and settings.store is not None:
        raise UnsupportedError(
            f"Task {task.name!r} is durable=True",
            "the configured store does not survive its process",
            "Set LATER_STORE = 'sqlite:///later.sqlite3'.",
        )
