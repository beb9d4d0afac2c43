"""The group ``flask later``."""

from __future__ import annotations

import json
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from flask_later.cli.worker import work
from flask_later.errors import LaterError
from flask_later.tasks.state import KEY, AppState
from flask_later.tasks.task import Task


class LaterGroup(AppGroup):
    """Shows errors of ours as one line, as click does with its own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LaterError as error:
            raise click.ClickException(str(error)) from error


later_group = LaterGroup("later", help="Background work of this app.")
later_group.add_command(work)


@later_group.command("tasks")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_tasks(as_json: bool) -> None:
    """List the tasks that this app knows."""
    state: AppState = current_app.extensions[KEY]
    rows = [_describe(task) for task in state.registry.tasks()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}{row['signature']}  queue={row['queue']}")
    if not rows:
        click.echo("This app knows no task. Is their module imported by create_app()?")


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
