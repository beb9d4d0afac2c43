"""The group ``flask later``."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import AppGroup

from flask_later.errors import LaterError
from flask_later.runtime.loading import load

#: Each command's module and function.
_COMMANDS = {
    "cancel": ("changes", "cancel_jobs"),
    "doctor": ("doctor", "examine"),
    "jobs": ("jobs", "list_jobs"),
    "pause": ("queues", "pause_queue"),
    "prune": ("prune", "prune_jobs"),
    "queues": ("queues", "list_queues"),
    "recover": ("recover", "recover_jobs"),
    "resume": ("queues", "resume_queue"),
    "retry": ("changes", "retry_jobs"),
    "show": ("jobs", "show_job"),
    "tasks": ("tasks", "list_tasks"),
    "worker": ("worker", "work"),
    "workers": ("workers", "list_workers"),
}


class LaterGroup(AppGroup):
    """Shows errors of ours as one line, as click does with its own.

    A command is imported when somebody asks for it, so a web process does without them all.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = _COMMANDS[cmd_name]
        command: click.Command = load(f"cli.{module}", name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LaterError as error:
            raise click.ClickException(str(error)) from error


later_group = LaterGroup("later", help="Background work of this app.")
