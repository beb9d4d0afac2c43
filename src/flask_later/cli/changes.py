"""``flask later retry`` and ``cancel``: jobs by their ids, or all that match."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import click
from flask.cli import with_appcontext

from flask_later.core.job import JobRecord, JobState
from flask_later.core.store import MAX_PAGE, JobFilter, Store
from flask_later.errors import JobError
from flask_later.tasks.job import Job, read
from flask_later.tasks.state import AppState, get_state

from .answers import ask, echo_json, json_option, progress_bar, say

_RETRIED = (JobState.FAILED, JobState.CANCELLED)
_CANCELLED = (
    *(JobState.HELD, JobState.SCHEDULED, JobState.QUEUED),
    *(JobState.RUNNING, JobState.PARKED),
)


@dataclass(frozen=True)
class _Change:
    """What is done to jobs, and to which it can be done."""

    verb: str
    apply: Callable[[Job[Any]], Job[Any]]
    states: Collection[JobState]


_RETRY = _Change("retry", lambda job: job.retry(), _RETRIED)
_CANCEL = _Change("cancel", lambda job: job.cancel(), _CANCELLED)


def _options(states: Collection[JobState]) -> Callable[[Any], Any]:
    """Give a command what says which jobs."""
    choice = click.Choice([state.value for state in states])
    options = (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        click.option("--state", "names", type=choice, multiple=True, help="All in this state."),
        click.option("--task", help="All of this task."),
        click.option("--queue", help="All of this queue."),
        click.option("--all", "everything", is_flag=True, help="All of them."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        json_option,
    )

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command("retry")
@_options(_RETRIED)
@with_appcontext
def retry_jobs(**given: Any) -> None:
    """Queue failed or cancelled jobs again, as if they had never run."""
    _run(_RETRY, **given)


@click.command("cancel")
@_options(_CANCELLED)
@with_appcontext
def cancel_jobs(**given: Any) -> None:
    """Cancel jobs that wait, and ask those that run to stop."""
    _run(_CANCEL, **given)


def _run(
    change: _Change,
    *,
    ids: tuple[str, ...],
    names: tuple[str, ...],
    task: str | None,
    queue: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    state = get_state(f"flask later {change.verb}", "...")
    chooses = bool(names or task or queue or everything)
    if bool(ids) == chooses:
        raise click.UsageError(
            "Name jobs by their ids, or choose by --state, --task, --queue; or --all. Not both."
        )
    if ids:
        _change_each(state, change, ids, as_json=as_json)
        return
    states = frozenset(map(JobState, names)) or frozenset(change.states)
    _change_all(state, change, JobFilter(states, task, queue), yes=yes, as_json=as_json)


def _change_each(state: AppState, change: _Change, ids: tuple[str, ...], *, as_json: bool) -> None:
    """Change jobs one by one; one that cannot be changed does not hold up the others."""
    answers: list[dict[str, str]] = []
    failed = False
    for job_id in ids:
        try:
            job = change.apply(Job(read(state, job_id), state))
        except JobError as error:
            failed = True
            answers.append({"id": job_id, "error": str(error)})
            click.echo(f"Error: {error}", err=True)
        else:
            answers.append({"id": job_id, "state": job.state.value})
            if not as_json:
                told = ", told to stop" if job.record.stop else ""
                say(f"{job_id}  {job.state.value}{told}")
    if as_json:
        echo_json(answers)
    if failed:
        raise click.exceptions.Exit(1)


def _change_all(
    state: AppState, change: _Change, wanted: JobFilter, *, yes: bool, as_json: bool
) -> None:
    number = sum(1 for _ in _each(state.store, wanted))
    if number and not yes:
        ask(f"{change.verb.capitalize()} {number:,} jobs?")
    changed = 0
    with progress_bar(number, change.verb) as bar:
        for record in _each(state.store, wanted):
            try:
                change.apply(Job(record, state))
                changed += 1
            except JobError:
                pass  # it has gone on since it was read
            bar.update(1)
    if as_json:
        echo_json({"changed": changed})
    else:
        say(f"{change.verb}: {changed:,} jobs")


def _each(store: Store, wanted: JobFilter) -> Iterator[JobRecord]:
    """Yield all matching jobs, a page at a time."""
    after: str | None = None
    while True:
        page = store.find(wanted, after, MAX_PAGE)
        yield from page.records
        if (after := page.after) is None:
            return
