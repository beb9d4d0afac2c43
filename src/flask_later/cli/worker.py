"""``flask later worker``: processes that work jobs and serve nobody."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click
from flask import Flask
from flask.cli import ScriptInfo, pass_script_info

from flask_later.config import queue_name, seconds
from flask_later.core.engine import ServeOptions
from flask_later.errors import (
    InvalidSettingError,
    ManualModeError,
    StoreCorruptError,
    UnsupportedError,
)
from flask_later.logs import Log
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.runtime.resident import resident_bytes
from flask_later.runtime.supervisor import Supervisor
from flask_later.runtime.tether import Tether
from flask_later.runtime.worker_options import WorkerOptions
from flask_later.runtime.worker_process import DAMAGED, Bounds, WorkerProcess
from flask_later.tasks.state import KEY, AppState

_logger = Log("flask_later.worker")

_FORMAT = "[%(asctime)s] %(levelname)s in process %(process)d: %(message)s"
_POSITIVE = click.IntRange(min=1)


def _queue_names(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Read names with commas between them."""
    if value is None:
        return None
    try:
        return tuple(queue_name(name.strip()) for name in value.split(","))
    except InvalidSettingError as error:
        raise click.BadParameter(str(error)) from error


def _seconds(ctx: click.Context, param: click.Parameter, value: float) -> float:
    try:
        return seconds("the timeout", value)
    except InvalidSettingError as error:
        raise click.BadParameter(str(error)) from error


@click.command("worker")
@click.option("--processes", type=_POSITIVE, default=1, help="Processes to start (1).")
@click.option("--threads", type=_POSITIVE, help="Jobs that each runs at a time (LATER_THREADS).")
@click.option(
    "--queues",
    metavar="A,B",
    callback=_queue_names,
    help="Take from these, in strict order (LATER_QUEUES).",
)
@click.option("--max-jobs", type=_POSITIVE, help="Replace a process that has run so many jobs.")
@click.option(
    "--max-memory", type=_POSITIVE, metavar="MB", help="Replace a process that has so much memory."
)
@click.option(
    "--shutdown-timeout",
    type=float,
    callback=_seconds,
    default=25.0,
    help="Seconds that jobs get to end at a stop (25).",
)
@click.option("--name", default="", help="What to call this worker, in place of the machine.")
@click.option("--child", type=int, hidden=True)
@pass_script_info
def work(
    info: ScriptInfo,
    *,
    processes: int,
    threads: int | None,
    queues: tuple[str, ...] | None,
    max_jobs: int | None,
    max_memory: int | None,
    shutdown_timeout: float,
    name: str,
    child: int | None,
) -> None:
    """Run jobs, in processes of their own.

    A signal (Ctrl-C, SIGTERM) lets the jobs in hand end; a second one gives them back at once.
    """
    app = info.load_app()
    state: AppState = app.extensions[KEY]
    _log_to_stderr()
    _require_memory_to_be_known(max_memory)
    try:
        _require_queues(state, queues)
        settings = state.settings
        options = WorkerOptions(threads or settings.threads, queues or settings.queues, name)
        if child is not None:
            bounds = Bounds(max_jobs, max_memory and max_memory * 2**20)
            sys.exit(_work(app, state, options, bounds, shutdown_timeout, child))
        _require_a_real_store(state)
        state.engine.check(ServeOptions(options.threads, options.queues))
        _log_start(state, options, processes)
    except StoreCorruptError as error:
        raise _DamagedStore(str(error)) from error
    state.store.close()
    sys.exit(Supervisor(_child_command, processes, shutdown_timeout).run())


class _DamagedStore(click.ClickException):
    """Nothing but somebody's hand changes that, so whoever restarts the worker need not."""

    exit_code = DAMAGED


def _work(
    app: Flask,
    state: AppState,
    options: WorkerOptions,
    bounds: Bounds,
    shutdown_timeout: float,
    news: int,
) -> int:
    lifecycle: Lifecycle = app.extensions[LIFECYCLE_KEY]
    tether = Tether(None if news < 0 else news)
    return WorkerProcess(lifecycle, state.engine, options, bounds, shutdown_timeout, tether).run()


def _child_command(news: int | None) -> Sequence[str]:
    """Return the line that started us, for one of the processes that do the work."""
    line = [sys.executable, *sys.orig_argv[1:]]
    return [*line, "--child", str(-1 if news is None else news)]


def _require_memory_to_be_known(max_memory: int | None) -> None:
    if max_memory is not None and resident_bytes() is None:
        raise click.BadParameter(
            "this system does not tell what a process uses. Use --max-jobs.",
            param_hint="--max-memory",
        )


def _require_queues(state: AppState, queues: tuple[str, ...] | None) -> None:
    known = state.settings.queues
    strangers = [name for name in queues or () if known is not None and name not in known]
    if strangers:
        raise click.BadParameter(
            f"{', '.join(strangers)}: not in LATER_QUEUES, which are {', '.join(known or ())}.",
            param_hint="--queues",
        )


def _require_a_real_store(state: AppState) -> None:
    if state.store.reach == "process":
        raise UnsupportedError(
            "flask later worker",
            "the memory store is seen by one process only, so a worker would find no jobs there",
            "Set LATER_STORE = 'sqlite:///later.sqlite3'.",
        )
    if state.parts.manual:
        raise ManualModeError("flask later worker")


class _WithJob(logging.Formatter):
    """Names the job that a line comes from, unless the line does so itself."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (it is logging's)
        line = super().formatMessage(record)
        job = getattr(record, "later_job_id", None)
        return f"{line} (job {job})" if job and job not in line else line


def _log_to_stderr() -> None:
    """Show what we log, unless the app has set up its own logging."""
    logger = logging.getLogger("flask_later")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_WithJob(_FORMAT))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Which file it is stands in our own line, and need not in that of each process.
    logging.getLogger("flask_later.stores").setLevel(logging.WARNING)


def _log_start(state: AppState, options: WorkerOptions, processes: int) -> None:
    _logger.info(
        "Flask-Later %s works for app %r: %d x %d threads, queues %s, store %s (%s)%s",
        version("Flask-Later"),
        state.app.name,
        processes,
        options.threads,
        ", ".join(options.queues) if options.queues else "all",
        state.store.place,
        state.store.identity,
        f", broker {state.engine.place}" if state.engine.place else "",
    )
