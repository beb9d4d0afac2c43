"""About one job."""

from __future__ import annotations

from dataclasses import dataclass

from .base import LaterError


class JobError(LaterError):
    """About one job."""


@dataclass(eq=False, repr=False)
class JobNotFoundError(JobError, LookupError):
    """No job has this id: it never existed, or its time to live is over."""

    job_id: str
    advice: str = ""

    def __str__(self) -> str:
        text = f"There is no job {self.job_id!r}: the id is wrong, or its record has expired."
        return f"{text} {self.advice}" if self.advice else text


@dataclass(eq=False, repr=False)
class JobNotFinishedError(JobError):
    """The result was asked for while there is none yet."""

    job_id: str
    state: str

    def __str__(self) -> str:
        return (
            f"Job {self.job_id} is {self.state}, it has no result yet. "
            f"Use job.wait(timeout=...).result, or job.refresh() later."
        )


@dataclass(eq=False, repr=False)
class JobTimeoutError(JobError, TimeoutError):
    """``Job.wait`` gave up; the job goes on."""

    job_id: str
    state: str
    timeout: float
    advice: str = ""

    def __str__(self) -> str:
        text = f"Job {self.job_id} is still {self.state} after {self.timeout:g} s; it goes on."
        return f"{text} {self.advice}" if self.advice else text


@dataclass(eq=False, repr=False)
class JobFailedError(JobError):
    """The job failed; its exception is here as text, never as an object."""

    job_id: str
    error_type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"Job {self.job_id} failed: {self.error_type}: {self.message}"


@dataclass(eq=False, repr=False)
class JobCancelledError(JobError):
    """The job was cancelled, so it has no result."""

    job_id: str

    def __str__(self) -> str:
        return f"Job {self.job_id} was cancelled. job.retry() queues it again."


@dataclass(eq=False, repr=False)
class JobExpiredError(JobCancelledError):
    """The job was cancelled because no worker had begun it in time."""

    reason: str

    def __str__(self) -> str:
        return f"Job {self.job_id} was cancelled: {self.reason} job.retry() queues it again."


@dataclass(eq=False, repr=False)
class InvalidTransitionError(JobError):
    """The job's state does not allow the command."""

    job_id: str
    state: str
    command: str

    def __str__(self) -> str:
        return f"Cannot {self.command} job {self.job_id}: it is {self.state}."


@dataclass(eq=False, repr=False)
class UniqueKeyTakenError(JobError):
    """A retry was refused because another job holds the unique key now."""

    job_id: str
    unique_key: str
    holder: str

    def __str__(self) -> str:
        return (
            f"Cannot retry job {self.job_id}: its unique key {self.unique_key!r} is held by job "
            f"{self.holder}, which is not finished."
        )
