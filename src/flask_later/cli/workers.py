"""``flask later workers``."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_later.tasks.state import get_state

from .answers import duration, echo_json, echo_table, json_option
from .facts import about_worker

_HEADER = ("worker", "host", "pid", "threads", "queues", "started")


@click.command("workers")
@json_option
@with_appcontext
def list_workers(*, as_json: bool) -> None:
    """List the processes that run jobs now, the oldest first."""
    state = get_state("flask later workers", "...")
    workers = state.store.workers()
    if as_json:
        echo_json([about_worker(worker) for worker in workers])
        return
    now = state.clock.now()
    echo_table(
        _HEADER,
        (
            (
                *(worker.id[:8], worker.host, worker.pid, worker.threads),
                "all" if worker.queues is None else ",".join(worker.queues),
                f"{duration((now - worker.started_at).total_seconds())} ago",
            )
            for worker in workers
        ),
    )
    if not workers:
        click.echo("No worker is alive. Start one: flask later worker", err=True)
