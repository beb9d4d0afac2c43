"""``flask later recover``: what can be read of a damaged store, in a new one."""

from __future__ import annotations

from pathlib import Path

import click
from flask.cli import with_appcontext

from flask_later.core.store import Salvage
from flask_later.tasks.state import get_state

from .answers import echo_json, json_option, progress_bar, say

#: Ids of lost jobs that are shown to people.
_MOST_SHOWN = 20


@click.command("recover")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@with_appcontext
def recover_jobs(*, file: Path, as_json: bool) -> None:
    """Copy the jobs that can be read from a damaged store into a new FILE.

    The damaged file is not changed. Stop all processes that use it before. The exit code is 1 if
    anything is lost.
    """
    # Not opened: that is what a damaged one may refuse.
    store = get_state("flask later recover", "...").parts.store
    target = file.absolute()
    with progress_bar(1000, "recover") as bar:
        saved = store.salvage(target, lambda done, of: bar.update(done * 1000 // of - bar.pos))
    if as_json:
        echo_json({**saved._asdict(), "file": str(target)})
    else:
        _tell(saved, target)
    if saved.lost or saved.unknown or saved.incomplete:
        raise click.exceptions.Exit(1)


def _tell(saved: Salvage, target: Path) -> None:
    say(f"saved: {saved.jobs:,} jobs with {saved.log_lines:,} log lines, in {target}")
    if saved.lost:
        say(f"lost: {len(saved.lost):,} jobs")
        for job_id in saved.lost[:_MOST_SHOWN]:
            say(f"  {job_id}")
        if len(saved.lost) > _MOST_SHOWN:
            say("  and more: --json names all")
    if saved.unknown:
        say(f"perhaps lost: up to {saved.unknown:,} jobs of which nothing is known")
    for what in saved.incomplete:
        say(f"incomplete: {what}")
    if not saved.same_identity:
        say(
            "The new store has another identity: large arguments and results are found again "
            "under its name, see flask later doctor."
        )
    say(f"Use it: LATER_STORE = 'sqlite:///{target}'")
