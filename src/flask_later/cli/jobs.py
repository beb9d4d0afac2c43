"""``flask later jobs`` and ``show``."""

from __future__ import annotations

import json
from typing import Any

import click
from flask.cli import with_appcontext

from flask_later.core.cursors import is_cursor
from flask_later.core.job import JobRecord, JobState, LogLine
from flask_later.core.store import MAX_PAGE, JobFilter, Page
from flask_later.tasks.job import read
from flask_later.tasks.state import get_state

from .answers import duration, echo_json, echo_table, instant, json_option, say
from .facts import about_job

_STATES = click.Choice([state.value for state in JobState])
_HEADER = ("id", "state", "task", "queue", "attempts", "created")


@click.command("jobs")
@click.option("--state", "states", type=_STATES, multiple=True, help="Only these; may be repeated.")
@click.option("--task", help="Only jobs of this task.")
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=50, help="How many (50).")
@click.option("--after", metavar="CURSOR", help="Go on where the page before ended.")
@json_option
@with_appcontext
def list_jobs(
    *,
    states: tuple[str, ...],
    task: str | None,
    queue: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """List jobs, the newest first."""
    state = get_state("flask later jobs", "...")
    wanted = JobFilter(frozenset(map(JobState, states)) or None, task, queue)
    page = state.store.find(wanted, after, limit)
    _require_cursor(after, page)
    if as_json:
        echo_json({"jobs": [about_job(record) for record in page.records], "after": page.after})
        return
    now = state.clock.now()
    echo_table(
        _HEADER,
        (
            (
                *(record.id, record.state.value, record.task, record.queue, record.attempts),
                f"{duration((now - record.created_at).total_seconds())} ago",
            )
            for record in page.records
        ),
    )
    if page.after is not None:
        click.echo(f"There are more: --after {page.after}", err=True)
    if not page.records:
        click.echo("No such jobs." if after is None else "No more such jobs.", err=True)


def _require_cursor(after: str | None, page: Page) -> None:
    """Refuse what is no cursor: an empty page would look as if all had been seen."""
    if after is not None and not page.records and not is_cursor(after):
        raise click.BadParameter(
            f"{after!r} is not what a page ends with: 'There are more: --after ...', "
            f'or "after" in JSON',
            param_hint="--after",
        )


@click.command("show")
@click.argument("job_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Show arguments, context and result as well.")
@json_option
@with_appcontext
def show_job(*, job_id: str, payload: bool, as_json: bool) -> None:
    """Show all that is known of a job, with its last log lines."""
    state = get_state("flask later show", "...")
    record = read(state, job_id)
    lines = state.store.log(job_id, limit=MAX_PAGE)
    facts = about_job(record, payload=payload)
    if as_json:
        echo_json({**facts, "log": [_about_line(line) for line in lines]})
        return
    for name, value in facts.items():
        if value is not None and name not in ("error", "progress"):
            say(f"{name + ':':<14}{value if isinstance(value, str) else json.dumps(value)}")
    _echo_progress(record)
    for line in lines:
        say(f"log:          {instant(line.at)} {line.message}")
    _echo_error(record)
    if not payload:
        click.echo("Arguments and result are hidden: --payload shows them.", err=True)


def _about_line(line: LogLine) -> dict[str, Any]:
    return {"id": line.id, "at": line.at.isoformat(), "message": line.message}


def _echo_progress(record: JobRecord) -> None:
    if (progress := record.progress) is not None:
        of = "" if progress.total is None else f" of {progress.total:g}"
        say(f"progress:     {progress.current:g}{of} {progress.message}".rstrip())


def _echo_error(record: JobRecord) -> None:
    if (error := record.error) is not None:
        say(f"error:        {error.type}: {error.message}")
        if error.traceback:
            say(error.traceback)
