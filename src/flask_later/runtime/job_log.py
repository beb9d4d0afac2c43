"""What happens to jobs, as log lines. It listens to the signals, like everybody else."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from flask_later import signals
from flask_later.core.job import JobRecord
from flask_later.core.retry import Failure, TryAgain
from flask_later.core.states import EXPIRED, MAX_CRASHES
from flask_later.logs import Log
from flask_later.tasks.current import Attempt, current_attempt

_logger = Log("flask_later.jobs")

#: A job that was given back this often will hardly ever get through.
_MANY_RELEASES = 3


def listen() -> None:
    """Log what becomes of the jobs of all apps. Connecting twice does no harm."""
    signals.job_failed.connect(_log_failed)
    signals.job_retried.connect(_log_retried)
    signals.job_released.connect(_log_released)
    signals.job_rescued.connect(_log_rescued)
    signals.job_cancelled.connect(_log_cancelled)
    signals.job_parked.connect(_log_parked)
    signals.outcome_dropped.connect(_log_dropped)


@contextmanager
def _about(job: JobRecord) -> Generator[None]:
    """Let the log records inside carry the job, which has ended."""
    token = current_attempt.set(
        Attempt(job.id, job.task, job.queue, job.fence, job.attempts, news=lambda _: None)
    )
    try:
        yield
    finally:
        current_attempt.reset(token)


def _log_failed(_: object, *, job: JobRecord, exception: BaseException | None, **__: Any) -> None:
    with _about(job):
        if isinstance(exception, Failure):
            _logger.warning("job %s (%s) failed: %s", job.id, job.task, exception.message)
            return
        if exception is None and job.error is not None:
            _logger.error("job %s (%s) failed: %s", job.id, job.task, job.error.message)
            return
        _logger.error(
            "job %s (%s) failed in attempt %d", job.id, job.task, job.attempts, exc_info=exception
        )


def _log_retried(_: object, *, job: JobRecord, exception: BaseException | None, **__: Any) -> None:
    if isinstance(exception, TryAgain):
        return
    with _about(job):
        _logger.warning(
            "job %s (%s) failed in attempt %d and runs again at %s",
            job.id,
            job.task,
            job.attempts,
            job.run_at.isoformat(timespec="seconds"),
            exc_info=exception,
        )


def _log_released(_: object, *, job: JobRecord, **__: Any) -> None:
    if job.releases < _MANY_RELEASES:
        return
    with _about(job):
        _logger.warning(
            "job %s (%s) was given back %d times by processes that stopped: does it take longer "
            "than they live? Run its queue in a process of its own, which no request recycles: "
            "flask later worker. Or raise LATER_SHUTDOWN_TIMEOUT, or make smaller jobs of it",
            job.id,
            job.task,
            job.releases,
        )


def _log_rescued(_: object, *, job: JobRecord, **__: Any) -> None:
    with _about(job):
        _logger.warning(
            "job %s (%s): its worker died in attempt %d, which is crash %d of %d; it runs again",
            job.id,
            job.task,
            job.attempts,
            job.crashes,
            MAX_CRASHES,
        )


def _log_cancelled(_: object, *, job: JobRecord, **__: Any) -> None:
    if job.error is not None and job.error.type == EXPIRED:
        with _about(job):
            _logger.info("job %s (%s) was cancelled: %s", job.id, job.task, job.error.message)


def _log_parked(_: object, *, job: JobRecord, reason: str, **__: Any) -> None:
    with _about(job):
        _logger.warning("job %s (%s) is parked: %s", job.id, job.task, reason)


def _log_dropped(_: object, *, job: JobRecord, **__: Any) -> None:
    with _about(job):
        _logger.warning(
            "job %s (%s): an outcome came too late and was dropped, another attempt owns the job",
            job.id,
            job.task,
        )
