"""Every error Flask-Later raises, in one tree.

::

    LaterError
    ├── ConfigurationError            raised at start-up: the app is put together wrongly
    │   ├── UnknownSettingError
    │   ├── InvalidSettingError
    │   ├── AlreadyInitializedError
    │   ├── NotInitializedError
    │   ├── NotInstalledError
    │   ├── UnsupportedError
    │   ├── InvalidTaskError
    │   └── NameTakenError
    ├── UsageError                    raised in the caller: right call, wrong place or moment
    │   ├── OutsideAppContextError
    │   ├── OutsideRequestError
    │   ├── NotServingError
    │   ├── ManualModeError
    │   ├── NotManualError
    │   ├── EndlessWorkError
    │   ├── WaitInsideJobError
    │   └── UnknownServiceError
    ├── EnqueueError                  raised in the caller: nothing was stored
    │   ├── ArgumentsError
    │   ├── NotSerializableError
    │   ├── PayloadTooLargeError
    │   ├── UnknownQueueError
    │   ├── QueueFullError
    │   ├── CallbackQueueFullError
    │   ├── ServiceQueueFullError
    │   └── ServiceStoppedError
    ├── JobError                      about one job
    │   ├── JobNotFoundError
    │   ├── JobNotFinishedError
    │   ├── JobTimeoutError
    │   ├── JobFailedError
    │   ├── JobCancelledError
    │   ├── InvalidTransitionError
    │   └── UniqueKeyTakenError
    ├── MalformedPayloadError         stored text is not what we wrote
    └── StoreError                    the store could not answer
        ├── StoreBusyError
        └── StoreMismatchError

Each error keeps its facts as attributes, survives pickling, and says what to type.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from queue import Full


def closest(name: str, known: Sequence[str]) -> str:
    """Return a sentence naming what *name* was probably meant to be, or nothing."""
    matches = get_close_matches(name, known, n=3)
    return f" Closest: {', '.join(map(repr, matches))}." if matches else ""


class LaterError(Exception):
    """Base of all errors of this package."""


# Configuration


class ConfigurationError(LaterError, RuntimeError):
    """The application is put together wrongly; raised when it starts."""


class UnknownSettingError(ConfigurationError):
    """The app's config holds a ``LATER_*`` key that does not exist."""

    def __init__(self, key: str, known: Sequence[str]) -> None:
        super().__init__(key, known)
        self.key = key
        self.known = known

    def __str__(self) -> str:
        return (
            f"There is no setting {self.key!r}.{closest(self.key, self.known)} "
            f"Remove it from app.config or correct its name."
        )


class InvalidSettingError(ConfigurationError):
    """A ``LATER_*`` key, or an option, holds a value that it cannot have."""

    def __init__(self, key: str, value: str, expected: str) -> None:
        super().__init__(key, value, expected)
        self.key = key
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.key} is {self.value}, expected {self.expected}."


class AlreadyInitializedError(ConfigurationError):
    """``init_app`` met an app that already has a ``Later``."""

    def __init__(self, app: str) -> None:
        super().__init__(app)
        self.app = app

    def __str__(self) -> str:
        return (
            f"The Flask app {self.app!r} already has a 'Later' instance. "
            f"Call init_app once for each app, and import that instance where you need it."
        )


class NotInitializedError(ConfigurationError):
    """The current app is not registered with the ``Later`` that was asked."""

    def __init__(self, app: str, owner: str | None, asked: str) -> None:
        super().__init__(app, owner, asked)
        self.app = app
        self.owner = owner
        self.asked = asked

    def __str__(self) -> str:
        if self.owner is None:
            return (
                f"The current Flask app {self.app!r} is not registered with a 'Later' instance "
                f"({self.asked}). Did you forget later.init_app(app) in create_app()?"
            )
        return (
            f"{self.asked} does not belong to the 'Later' instance of the current Flask app "
            f"{self.app!r}, which was created at {self.owner}. Did you create a second Later(), "
            f"or forget later.register(group)? Import and use the one that init_app was called on."
        )


class NotInstalledError(ConfigurationError):
    """A store or engine needs a library that is not installed."""

    def __init__(self, wanted: str, module: str, extra: str) -> None:
        super().__init__(wanted, module, extra)
        self.wanted = wanted
        self.module = module
        self.extra = extra

    def __str__(self) -> str:
        return (
            f"{self.wanted} needs the module {self.module!r}, which is not installed. "
            f'Type: pip install "Flask-Later[{self.extra}]"'
        )


class UnsupportedError(ConfigurationError):
    """A task, or a setting, needs what the configured store or engine cannot do."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}: {self.why}. {self.remedy}"


class InvalidTaskError(ConfigurationError, TypeError):
    """What was decorated cannot be a task, a service or a callback."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.why}. {self.remedy}"


class NameTakenError(ConfigurationError):
    """Two tasks, groups or services want the same name."""

    def __init__(self, kind: str, name: str, first: str, second: str) -> None:
        super().__init__(kind, name, first, second)
        self.kind = kind
        self.name = name
        self.first = first
        self.second = second

    def __str__(self) -> str:
        return (
            f"The {self.kind} name {self.name!r} is taken: first at {self.first}, "
            f"again at {self.second}. Give one of them another name: name='...'."
        )


# Usage


class UsageError(LaterError, RuntimeError):
    """The call is right, but not here or not now."""


class OutsideAppContextError(UsageError):
    """Something that belongs to an app was used while no app was active."""

    def __init__(self, what: str, example: str) -> None:
        super().__init__(what, example)
        self.what = what
        self.example = example

    def __str__(self) -> str:
        return (
            f"Working outside of application context: {self.what} where no Flask app is active. "
            f"Use it in a view or a 'flask' command, or write: "
            f"with app.app_context(): {self.example} "
            f"(In a script at import time? Move the call into a function.)"
        )


class OutsideRequestError(UsageError):
    """``after_this_response`` was called where there is no response to come."""

    def __init__(self, app: str | None) -> None:
        super().__init__(app)
        self.app = app

    def __str__(self) -> str:
        if self.app is None:
            return (
                "Working outside of request context: after_this_response() needs a request whose "
                "response is still to come. In a script, a command or a job, call the function."
            )
        return (
            f"This request did not come in through app.wsgi_app of {self.app!r}, so nothing would "
            f"run the callback. In a test, use app.test_client() in place of "
            f"app.test_request_context()."
        )


class NotServingError(UsageError):
    """Something was asked of a process that has not begun to work for the app."""

    def __init__(self, app: str, consequence: str, remedy: str = "") -> None:
        super().__init__(app, consequence, remedy)
        self.app = app
        self.consequence = consequence
        self.remedy = remedy

    def __str__(self) -> str:
        text = (
            f"This process does not serve the app {self.app!r}, so {self.consequence}. "
            f"Begin to work here with later.start(app)"
        )
        return f"{text}, or {self.remedy}." if self.remedy else f"{text}."


class ManualModeError(UsageError):
    """Waiting was asked for while nothing runs by itself."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.what} would wait for ever: LATER_MANUAL is on (it follows app.testing), so "
            f"nothing runs by itself. Call flask_later.testing.run_all(app) first, or set "
            f"LATER_MANUAL = False for a live server."
        )


class NotManualError(UsageError):
    """The test kit was asked to run what runs by itself."""

    def __init__(self, what: str, app: str) -> None:
        super().__init__(what, app)
        self.what = what
        self.app = app

    def __str__(self) -> str:
        return (
            f"{self.what} was called for the app {self.app!r}, where LATER_MANUAL is off: threads "
            f"run its work, by the real clock. Set app.testing = True or LATER_MANUAL = True "
            f"before its first use, or wait for a job with job.wait(timeout=5)."
        )


class EndlessWorkError(UsageError):
    """The test kit ran so much that the work probably makes more work for ever."""

    def __init__(self, limit: int, last: str) -> None:
        super().__init__(limit, last)
        self.limit = limit
        self.last = last

    def __str__(self) -> str:
        return (
            f"More than {self.limit} jobs and callbacks have run, the last of them {self.last}. "
            f"Does it enqueue itself, or raise TryAgain() without a delay? If it really is that "
            f"much, say so: limit={10 * self.limit}."
        )


class WaitInsideJobError(UsageError):
    """A job waited for another job of its own worker, which can deadlock."""

    def __init__(self, waiting: str, job_id: str) -> None:
        super().__init__(waiting, job_id)
        self.waiting = waiting
        self.job_id = job_id

    def __str__(self) -> str:
        return (
            f"Task {self.waiting!r} waits for job {self.job_id} on the threads that should run it: "
            f"with every thread waiting, nothing would run. Enqueue the rest of the work as a job "
            f"of its own, or call the task's function directly."
        )


class UnknownServiceError(UsageError, LookupError):
    """The app has no such service."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return (
            f"There is no service {self.name!r}.{closest(self.name, self.known)} "
            f"Known services: {known}. Is its module imported by create_app()?"
        )


# Enqueue


class EnqueueError(LaterError):
    """Nothing was stored; the caller still has the work in hand."""


class ArgumentsError(EnqueueError, TypeError):
    """The arguments do not fit the task's signature."""

    def __init__(self, task: str, reason: str, signature: str) -> None:
        super().__init__(task, reason, signature)
        self.task = task
        self.reason = reason
        self.signature = signature

    def __str__(self) -> str:
        return f"{self.task}: {self.reason} (signature: {self.signature})"


class NotSerializableError(EnqueueError, TypeError):
    """A value cannot make the JSON round trip; its content is never shown."""

    def __init__(self, path: str, value_type: str, hint: str) -> None:
        super().__init__(path, value_type, hint)
        self.path = path
        self.value_type = value_type
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.path} is a {self.value_type} and cannot be stored. {self.hint}"


class PayloadTooLargeError(EnqueueError, ValueError):
    """Arguments, or a result, are larger than the configured limit, in bytes."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what = what
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.what} takes {self.size:,} bytes, the limit is {self.limit:,}. "
            f"Store the data (a file, a row) and pass its path or id."
        )


class UnknownQueueError(EnqueueError, LookupError):
    """``LATER_QUEUES`` is a list, and the job's queue is not on it."""

    def __init__(self, queue: str, known: Sequence[str]) -> None:
        super().__init__(queue, known)
        self.queue = queue
        self.known = known

    def __str__(self) -> str:
        return (
            f"Queue {self.queue!r} is not in LATER_QUEUES, so no worker would take the job."
            f"{closest(self.queue, self.known)} Queues: {', '.join(self.known)}."
        )


class QueueFullError(EnqueueError):
    """As many jobs wait as ``LATER_MAX_PENDING`` allows."""

    def __init__(self, pending: int, limit: int) -> None:
        super().__init__(pending, limit)
        self.pending = pending
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.pending:,} jobs wait and LATER_MAX_PENDING is {self.limit:,}; the job was not "
            f"stored. Answer 503, add workers, or raise LATER_MAX_PENDING."
        )


class CallbackQueueFullError(EnqueueError):
    """As many callbacks wait as ``LATER_MAX_CALLBACKS`` allows."""

    def __init__(self, callback: str, limit: int) -> None:
        super().__init__(callback, limit)
        self.callback = callback
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.limit:,} callbacks already wait (LATER_MAX_CALLBACKS); {self.callback!r} was "
            f"not kept. Work that may pile up belongs in a task, which is stored."
        )


class ServiceQueueFullError(EnqueueError, Full):
    """As many items wait for a ``QueueService`` as its ``maxsize`` allows."""

    def __init__(self, service: str, maxsize: int) -> None:
        super().__init__(service, maxsize)
        self.service = service
        self.maxsize = maxsize

    def __str__(self) -> str:
        return (
            f"{self.maxsize:,} items already wait for the service {self.service!r} (maxsize); this "
            f"one was not kept. Wait for room with put(item, timeout=...), raise maxsize, or "
            f"enqueue a task, which is stored."
        )


class ServiceStoppedError(EnqueueError):
    """The service is stopped, or stopping, so nothing would handle the item."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self.service = service

    def __str__(self) -> str:
        return (
            f"The service {self.service!r} does not run in this process, so nothing would handle "
            f"the item; it was not kept. Start it with later.services[{self.service!r}].start(), "
            f"or enqueue a task, which is stored."
        )


# Jobs


class JobError(LaterError):
    """About one job."""


class JobNotFoundError(JobError, LookupError):
    """No job has this id: it never existed, or its time to live is over."""

    def __init__(self, job_id: str, hint: str = "") -> None:
        super().__init__(job_id, hint)
        self.job_id = job_id
        self.hint = hint

    def __str__(self) -> str:
        text = f"There is no job {self.job_id!r}: the id is wrong, or its record has expired."
        return f"{text} {self.hint}" if self.hint else text


class JobNotFinishedError(JobError):
    """The result was asked for while there is none yet."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(job_id, state)
        self.job_id = job_id
        self.state = state

    def __str__(self) -> str:
        return (
            f"Job {self.job_id} is {self.state}, it has no result yet. "
            f"Use job.wait(timeout=...).result, or job.refresh() later."
        )


class JobTimeoutError(JobError, TimeoutError):
    """``Job.wait`` gave up; the job goes on."""

    def __init__(self, job_id: str, state: str, timeout: float) -> None:
        super().__init__(job_id, state, timeout)
        self.job_id = job_id
        self.state = state
        self.timeout = timeout

    def __str__(self) -> str:
        return f"Job {self.job_id} is still {self.state} after {self.timeout:g} s; it goes on."


class JobFailedError(JobError):
    """The job failed; its exception is here as text, never as an object."""

    def __init__(self, job_id: str, error_type: str, message: str, traceback: str = "") -> None:
        super().__init__(job_id, error_type, message, traceback)
        self.job_id = job_id
        self.error_type = error_type
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"Job {self.job_id} failed: {self.error_type}: {self.message}"


class JobCancelledError(JobError):
    """The job was cancelled, so it has no result."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"Job {self.job_id} was cancelled. job.retry() queues it again."


class InvalidTransitionError(JobError):
    """The job's state does not allow the command."""

    def __init__(self, job_id: str, state: str, command: str) -> None:
        super().__init__(job_id, state, command)
        self.job_id = job_id
        self.state = state
        self.command = command

    def __str__(self) -> str:
        return f"Cannot {self.command} job {self.job_id}: it is {self.state}."


class UniqueKeyTakenError(JobError):
    """A retry was refused because another job holds the unique key now."""

    def __init__(self, job_id: str, unique_key: str, holder: str) -> None:
        super().__init__(job_id, unique_key, holder)
        self.job_id = job_id
        self.unique_key = unique_key
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"Cannot retry job {self.job_id}: its unique key {self.unique_key!r} is held by job "
            f"{self.holder}, which is not finished."
        )


# Stored text and the store


class MalformedPayloadError(LaterError, ValueError):
    """Stored text is not what this version of the package writes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The stored payload cannot be read: {self.reason}."


class StoreError(LaterError):
    """The store could not answer; what was asked for may not have happened."""


class StoreBusyError(StoreError):
    """The store stayed locked for the whole time allowed; nothing was stored."""

    def __init__(self, waited: float) -> None:
        super().__init__(waited)
        self.waited = waited

    def __str__(self) -> str:
        return (
            f"The store was locked by another process for {self.waited:g} s; nothing was stored. "
            f"Is another program holding a transaction on the file open?"
        )


class StoreMismatchError(StoreError):
    """What lies at the store's address was not written by this package, or by a newer one."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.address} is not a store this version can use: {self.reason}."
