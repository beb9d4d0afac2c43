"""``flask later prune``."""

from __future__ import annotations

import re
from datetime import timedelta

import click
from flask.cli import with_appcontext

from flask_later.core.job import FINISHED, JobState
from flask_later.tasks.state import get_state

from .answers import ask, echo_json, json_option, progress_bar, say
from .facts import count

#: Records that go in one commit, so that nobody else waits for long.
_BATCH = 500
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d{1,6})([smhdw]?)")


def _age(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    found = _AGE.fullmatch(value)
    if found is None:
        raise click.BadParameter("a number with s, m, h, d or w behind it, such as 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2] or "s"])


@click.command("prune")
@click.option(
    *("--older-than", "age"),
    default="0s",
    metavar="AGE",
    callback=_age,
    help="Only what ended so long ago: 90s, 30m, 12h, 7d, 2w. All, if left out.",
)
@click.option(
    *("--state", "names"),
    type=click.Choice(sorted(state.value for state in FINISHED)),
    multiple=True,
    help="Only these; may be repeated.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_appcontext
def prune_jobs(*, age: timedelta, names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete the records of finished jobs now, before their time is over."""
    state = get_state("flask later prune", "...")
    states = frozenset(map(JobState, names)) or FINISHED
    before = state.clock.now() - age
    if not yes:
        ask("Delete the records of finished jobs?")
    stats = state.store.stats()
    deleted = 0
    with progress_bar(sum(count(stats, each) for each in states), "prune") as bar:
        while gone := state.store.prune(states, before, _BATCH):
            deleted += gone
            bar.update(gone)
    if as_json:
        echo_json({"deleted": deleted})
    else:
        say(f"deleted: {deleted:,} jobs")
