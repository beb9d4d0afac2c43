"""``flask later doctor``: what is wrong, and what to type."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_later.core.job import PENDING, JobState
from flask_later.core.store import MAX_PAGE, Finding, JobFilter
from flask_later.errors import LaterError
from flask_later.runtime.serving import complaint, unserved
from flask_later.tasks.state import AppState, get_state

from .answers import duration, echo_json, json_option, say
from .facts import count

#: How long an attempt without a timeout may run before that is mentioned.
_LONG = timedelta(hours=1)
#: How far the clocks of two processes may be apart.
_APART = timedelta(seconds=5)
_MARKS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}


@click.command("doctor")
@json_option
@with_appcontext
def examine(*, as_json: bool) -> None:
    """Look for what is wrong with the settings, the store, the workers and the jobs.

    The exit code is 1 if something does not work; warnings do not count.
    """
    state = get_state("flask later doctor", "...")
    findings: list[Finding] = []
    for finding in _examine(state):
        if finding in findings:
            continue  # several things fail for one reason
        findings.append(finding)
        if not as_json:
            _echo(finding)
    if as_json:
        echo_json([finding._asdict() for finding in findings])
    if any(finding.level == "error" for finding in findings):
        raise click.exceptions.Exit(1)


def _echo(finding: Finding) -> None:
    say(f"{_MARKS[finding.level]}  {finding.text}")
    if finding.advice:
        say(f"         {finding.advice}")


def _examine(state: AppState) -> Iterator[Finding]:
    yield Finding(
        "ok",
        f"Flask-Later {version('Flask-Later')}, Flask {version('flask')}, "
        f"Python {platform.python_version()}, app {current_app.name!r}",
    )
    try:
        parts = state.parts
    except LaterError as error:
        yield Finding("error", str(error))
        return
    yield from _settings(state)
    try:
        yield from _store(state)
    finally:
        parts.store.close()


def _settings(state: AppState) -> Iterator[Finding]:
    settings = state.settings
    who = "processes that serve run jobs" if settings.embedded else "only workers run jobs"
    queues = "any queue" if settings.queues is None else f"queues {', '.join(settings.queues)}"
    yield Finding("ok", f"settings: engine {settings.engine}, {who} (LATER_EMBEDDED), {queues}")
    if state.parts.manual:
        yield Finding(
            "warning",
            "LATER_MANUAL is on (it follows app.testing), so nothing runs by itself",
            "Set LATER_MANUAL = False, unless this is a test.",
        )
    if not state.registry.tasks():
        yield Finding(
            "warning",
            "this app knows no task, so every job would be parked",
            "Import the module of the tasks in create_app().",
        )


def _store(state: AppState) -> Iterator[Finding]:
    store = state.parts.store
    try:
        state.opening.open()
    except LaterError as error:
        # What can be seen from outside may say why.
        yield Finding("error", str(error))
        yield from _told(store.examine())
        return
    yield Finding("ok", f"store: {store.place} ({store.identity})")
    if store.reach == "process":
        yield Finding(
            "warning",
            "each process has a memory store of its own, and its jobs die with it",
            "Set LATER_STORE = 'sqlite:///later.sqlite3'.",
        )
    yield from _told(store.examine())
    for part in (_engine, _workers, _jobs, _clock):
        yield from _told(part(state))


def _told(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield *findings*, and an error of the store that ends them."""
    try:
        yield from findings
    except LaterError as error:
        yield Finding("error", str(error))


def _engine(state: AppState) -> Iterator[Finding]:
    return state.engine.examine()


def _workers(state: AppState) -> Iterator[Finding]:
    workers, stats = state.store.workers(), state.store.stats()
    if workers:
        threads = sum(worker.threads for worker in workers)
        yield Finding("ok", f"workers: {len(workers)} alive, with {threads} threads")
    elif state.settings.embedded:
        yield Finding(
            "warning",
            "no worker is alive: a process that serves begins at its first request",
            "Open a page, or call later.start(app) in the server's hook: see Servers in the docs.",
        )
    else:
        yield Finding(
            "warning",
            "no worker is alive, and processes that serve run no jobs (LATER_EMBEDDED)",
            "Start one: flask later worker",
        )
    for queue in unserved(stats, workers, state.clock.now()):
        yield Finding("warning", complaint(queue))
    for queue in stats:
        if queue.paused:
            yield Finding("ok", f"queue {queue.name!r} is paused; flask later resume {queue.name}")


def _jobs(state: AppState) -> Iterator[Finding]:
    stats = state.store.stats()
    pending = sum(count(stats, each) for each in PENDING)
    limit = state.settings.max_pending
    running, failed = count(stats, JobState.RUNNING), count(stats, JobState.FAILED)
    yield Finding("ok", f"jobs: {pending:,} wait, {running:,} run, {failed:,} have failed")
    if pending > 0.8 * limit:
        yield Finding(
            "warning",
            f"{pending:,} jobs wait, at {limit:,} (LATER_MAX_PENDING) enqueue raises",
            "Start more workers, or raise LATER_MAX_PENDING.",
        )
    if parked := count(stats, JobState.PARKED):
        yield Finding(
            "warning",
            f"{parked:,} jobs are parked: no code here knows their task or takes their arguments",
            "flask later jobs --state parked",
        )
    yield from _long_attempts(state)


def _long_attempts(state: AppState) -> Iterator[Finding]:
    now = state.clock.now()
    alive = {worker.id for worker in state.store.workers()}
    running = state.store.find(JobFilter(frozenset({JobState.RUNNING})), limit=MAX_PAGE).records
    orphans = [record for record in running if record.worker not in alive]
    if orphans:
        yield Finding(
            "warning",
            f"{len(orphans)} running jobs have lost their worker; the next live one takes them "
            f"over after {state.store.rescue_after:g} s",
            "If they stay: flask later worker",
        )
    for record in running:
        since = record.started_at
        if record.timeout is None and since is not None and now - since > _LONG:
            yield Finding(
                "warning",
                f"job {record.id} ({record.task}) has run for "
                f"{duration((now - since).total_seconds())} and has no timeout",
                f"flask later cancel {record.id}; and give the task a timeout",
            )


def _clock(state: AppState) -> Iterator[Finding]:
    """A row from the future: the clock was put back, or another machine's is ahead."""
    now = state.clock.now()
    newest = [record.created_at for record in state.store.find(limit=1).records]
    newest += [worker.started_at for worker in state.store.workers()]
    ahead = max(newest, default=now) - now
    if ahead > _APART:
        yield Finding(
            "warning",
            f"the clock was put back, or is behind another one: the newest row is "
            f"{duration(ahead.total_seconds())} ahead of it",
            "Jobs with a delay start late until the time has caught up. Check: timedatectl",
        )
    else:
        yield Finding("ok", f"clock: {now:%Y-%m-%d %H:%M:%S} UTC")
