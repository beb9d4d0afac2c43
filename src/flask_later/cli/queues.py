"""``flask later queues``, ``pause`` and ``resume``."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_later.config import queue_name
from flask_later.core.job import Hint, JobState, Resume
from flask_later.core.store import Pause, QueueCommand
from flask_later.errors import InvalidSettingError
from flask_later.runtime.serving import complaint, unserved
from flask_later.tasks.state import AppState, get_state

from .answers import duration, echo_json, echo_table, json_option, say, warn
from .facts import about_queue

_HEADER = ("queue", *(state.value for state in JobState), "oldest", "workers", "")


@click.command("queues")
@json_option
@with_appcontext
def list_queues(*, as_json: bool) -> None:
    """List the queues: their jobs by state, how long the oldest waits, and who serves them."""
    state = get_state("flask later queues", "...")
    now, stats, workers = state.clock.now(), state.store.stats(), state.store.workers()
    lonely = unserved(stats, workers, now)
    served = {queue.name: sum(each.serves(queue.name) for each in workers) for queue in stats}
    if as_json:
        echo_json([about_queue(each, served[each.name], unserved=each in lonely) for each in stats])
        return
    echo_table(
        _HEADER,
        (
            (
                queue.name,
                *(queue.counts.get(state, 0) for state in JobState),
                "" if (at := queue.oldest_run_at) is None else duration((now - at).total_seconds()),
                served[queue.name],
                "paused" if queue.paused else "",
            )
            for queue in stats
        ),
    )
    if not stats:
        click.echo("There are no queues: no jobs are stored.", err=True)
    for queue in lonely:
        warn(complaint(queue))


@click.command("pause")
@click.argument("queue")
@json_option
@with_appcontext
def pause_queue(*, queue: str, as_json: bool) -> None:
    """Hand out no more jobs of a queue; enqueueing goes on."""
    _command(queue, Pause(), as_json=as_json)


@click.command("resume")
@click.argument("queue")
@json_option
@with_appcontext
def resume_queue(*, queue: str, as_json: bool) -> None:
    """Hand out the jobs of a queue again."""
    _command(queue, Resume(), as_json=as_json)


def _command(queue: str, command: QueueCommand, *, as_json: bool) -> None:
    state = get_state("flask later pause", "...")
    try:
        queue_name(queue)
    except InvalidSettingError as error:
        raise click.BadParameter(str(error), param_hint="QUEUE") from error
    known = _known(state)
    state.store.queue(queue, command)
    if queue not in known:
        warn(
            f"no task, job or setting of this app names the queue {queue!r}. "
            f"Those there are: {', '.join(sorted(known))}"
        )
    paused = isinstance(command, Pause)
    if not paused:
        state.engine.deliver([Hint.at(state.store.identity, queue)])
    if as_json:
        echo_json({"name": queue, "paused": paused})
    else:
        say(f"{queue}  {'paused' if paused else 'resumed'}")


def _known(state: AppState) -> set[str]:
    """Return the queues that there are, or may be when a job is enqueued."""
    tasks = {task.options.queue for task in state.registry.tasks()}
    return tasks | {*(state.settings.queues or ())} | {queue.name for queue in state.store.stats()}
