"""The group ``flask later``."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import AppGroup

from flask_later.errors import LaterError

from .changes import cancel_jobs, retry_jobs
from .doctor import examine
from .jobs import list_jobs, show_job
from .prune import prune_jobs
from .queues import list_queues, pause_queue, resume_queue
from .recover import recover_jobs
from .tasks import list_tasks
from .worker import work
from .workers import list_workers


class LaterGroup(AppGroup):
    """Shows errors of ours as one line, as click does with its own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LaterError as error:
            raise click.ClickException(str(error)) from error


later_group = LaterGroup("later", help="Background work of this app.")
for command in (
    *(work, list_workers, list_tasks),
    *(list_jobs, show_job, retry_jobs, cancel_jobs),
    *(list_queues, pause_queue, resume_queue),
    *(prune_jobs, examine, recover_jobs),
):
    later_group.add_command(command)
