"""The job: the handle that a user holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast

from flask_later import signals
from flask_later.config import count, seconds, whole
from flask_later.core import payload
from flask_later.core.job import (
    FINISHED,
    Cancel,
    Command,
    Discard,
    ErrorRecord,
    Hint,
    JobRecord,
    JobState,
    LogLine,
    Progress,
    Resume,
    Retry,
    is_id,
)
from flask_later.core.states import EXPIRED
from flask_later.core.store import DUE
from flask_later.errors import (
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    JobNotFinishedError,
    JobNotFoundError,
    JobTimeoutError,
    ManualModeError,
    WaitInsideJobError,
)
from flask_later.tasks.current import current_attempt
from flask_later.tasks.state import AppState

T_co = TypeVar("T_co", covariant=True)


class Job(Generic[T_co]):
    """One request to run a task, as it was when it was read.

    Handles are frozen: :meth:`refresh` and the commands return a new one. They may be kept,
    pickled they may not: keep the id, and come back with ``later.job(id)``.
    """

    # By hand, since a frozen dataclass takes three times as long to make, once for each enqueue.
    __slots__ = ("_duplicate", "_record", "_state")

    def __init__(self, record: JobRecord, state: AppState, duplicate: bool = False) -> None:
        self._record = record
        self._state = state
        self._duplicate = duplicate

    @property
    def record(self) -> JobRecord:
        """What is stored, with all its facts."""
        return self._record

    @property
    def duplicate(self) -> bool:
        """Whether the enqueue found this job under its unique key, and stored none."""
        return self._duplicate

    @property
    def id(self) -> str:
        """32 hex digits, random: they tell nothing, not even an order."""
        return self._record.id

    @property
    def task(self) -> str:
        """The task's name."""
        return self._record.task

    @property
    def queue(self) -> str:
        return self._record.queue

    @property
    def state(self) -> JobState:
        return self._record.state

    @property
    def is_finished(self) -> bool:
        return self._record.state in FINISHED

    @property
    def progress(self) -> Progress | None:
        return self._record.progress

    @property
    def attempts(self) -> int:
        """Attempts begun so far; those that a stopping process gave back are not counted."""
        return self._record.attempts

    @property
    def error(self) -> ErrorRecord | None:
        """The last error, also of a job that will be tried again; or why it is parked."""
        return self._record.error

    @property
    def created_at(self) -> datetime:
        return self._record.created_at

    @property
    def started_at(self) -> datetime | None:
        """When the last attempt began."""
        return self._record.started_at

    @property
    def finished_at(self) -> datetime | None:
        return self._record.finished_at

    @property
    def run_at(self) -> datetime:
        """When it may run, or might have."""
        return self._record.run_at

    @property
    def result(self) -> T_co:
        """What the function returned, after its JSON round trip. Reading does not remove it.

        :raises JobNotFinishedError: as long as there is none.
        :raises JobFailedError: if the job failed.
        :raises JobCancelledError: if it was cancelled.
        :raises JobExpiredError: which is one, if that was because nobody had begun it in time.
        """
        record = self._record
        match record.state:
            case JobState.SUCCEEDED:
                return cast(T_co, payload.loads(record.result or "null"))
            case JobState.FAILED:
                error = record.error or ErrorRecord("Unknown", "")
                raise JobFailedError(record.id, error.type, error.message, error.traceback)
            case JobState.CANCELLED if record.error is not None and record.error.type == EXPIRED:
                raise JobExpiredError(record.id, record.error.message)
            case JobState.CANCELLED:
                raise JobCancelledError(record.id)
            case state:
                raise JobNotFinishedError(record.id, state.value)

    def refresh(self) -> Job[T_co]:
        """Return the job as it is now.

        :raises JobNotFoundError: if its record has expired.
        """
        return self._with(read(self._state, self.id))

    def wait(self, timeout: float | timedelta) -> Job[T_co]:
        """Return the job once it is finished.

        :raises JobTimeoutError: if that takes longer than *timeout*.
        :raises WaitInsideJobError: inside a job, whose thread the other may need.
        :raises ManualModeError: where nothing runs by itself.
        """
        state = self._state
        within = seconds("timeout", timeout)
        waiting = current_attempt.get()
        if not waiting.is_detached:
            raise WaitInsideJobError(waiting.task, self.id)
        job = self.refresh()
        if state.parts.manual and not job.is_finished:
            raise ManualModeError("Job.wait()")
        deadline = state.clock.monotonic() + within
        while not job.is_finished:
            left = deadline - state.clock.monotonic()
            if left <= 0:
                raise JobTimeoutError(self.id, job.state.value, within, _why_it_waits(state, job))
            state.store.wait((self.id,), left)
            job = job.refresh()
        return job

    def cancel(self) -> Job[T_co]:
        """Cancel it if it waits; ask it to stop if it runs.

        The process that runs it hears of that within a second, and its task at the next
        cancellation point after that; see :meth:`wait` for when it has ended.

        :raises InvalidTransitionError: if it is finished.
        """
        job = self._command(Cancel())
        if job.state is JobState.CANCELLED:
            signals.send(signals.job_cancelled, self._state.app, job=job.record, exception=None)
        return job

    def retry(self) -> Job[T_co]:
        """Queue a failed or cancelled job again, as if it had never run.

        :raises InvalidTransitionError: if it is neither.
        :raises UniqueKeyTakenError: if another job has its unique key now.
        """
        return self._command(Retry())

    def resume(self) -> Job[T_co]:
        """Queue a parked job again.

        :raises InvalidTransitionError: if it is not parked.
        """
        return self._command(Resume())

    def discard(self) -> None:
        """Delete the record of a finished job.

        :raises InvalidTransitionError: if it is not finished.
        """
        self._command(Discard())

    def log(self, after: int = 0, limit: int = 1_000) -> Sequence[LogLine]:
        """Return lines that the task wrote with ``current_job.log``, oldest first.

        :param after: the id of the last line that is not wanted any more.
        :raises InvalidSettingError: for what is no number of lines.
        """
        return self._state.store.log(self.id, whole("after", after), count("limit", limit))

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.task} {self.state.value}>"

    def _with(self, record: JobRecord) -> Job[T_co]:
        return Job(record, self._state, self._duplicate)

    def _command(self, command: Command) -> Job[T_co]:
        state = self._state
        record = state.store.command(self.id, command)
        if record.state is JobState.QUEUED:
            state.engine.deliver([Hint.to(state.store.identity, record)])
        else:
            # Maintenance passes a request to stop on to the task, and does so now.
            state.store.wake((DUE,))
        return self._with(record)


def _why_it_waits(state: AppState, job: Job[Any]) -> str:
    if job.state is not JobState.QUEUED:
        return ""
    workers = state.store.workers()
    if any(worker.serves(job.queue) for worker in workers):
        return "All threads that may run it are busy, or its queue is paused: flask later queues"
    if workers:
        return f"No process takes from its queue {job.queue!r}. Type: flask later worker"
    if not state.settings.embedded:
        return "No process runs jobs now. Type: flask later worker"
    return (
        "No process runs jobs now. Start the server and open a page, call later.start(app) here, "
        "or type: flask later worker"
    )


def read(state: AppState, job_id: str) -> JobRecord:
    """Return the record of a job.

    :raises JobNotFoundError: if there is none; names the likely cause where one is known.
    """
    record = state.store.get([job_id]).get(job_id) if is_id(job_id) else None
    if record is not None:
        return record
    advice = ""
    if state.store.reach == "process":
        advice = (
            "The memory store is seen by one process only: with several (gunicorn --workers 2), "
            "another may have it. Set LATER_STORE = 'sqlite:///later.sqlite3'."
        )
    raise JobNotFoundError(str(job_id)[:64], advice)
