"""``flask later tasks``."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_later.tasks.state import get_state
from flask_later.tasks.task import Task

from .answers import echo_json, json_option, say


@click.command("tasks")
@json_option
@with_appcontext
def list_tasks(*, as_json: bool) -> None:
    """List the tasks that this app knows."""
    rows = [_describe(task) for task in get_state("flask later tasks", "...").registry.tasks()]
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        say(f"{row['name']}{row['signature']}  queue={row['queue']}")
    if not rows:
        say("This app knows no task. Is their module imported by create_app()?")


def _describe(task: Task[..., object]) -> dict[str, object]:
    definition, options = task.definition, task.options
    return {
        "name": task.name,
        "aliases": list(definition.aliases),
        "signature": str(definition.signature),
        "queue": options.queue,
        "priority": options.priority,
        "timeout": options.timeout,
        "max_attempts": options.retry.max_attempts,
        "durable": options.durable,
        "defined_at": definition.place,
    }
