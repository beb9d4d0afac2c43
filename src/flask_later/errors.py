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
    │   │   └── JobExpiredError       nobody had begun it in time
    │   ├── InvalidTransitionError
    │   └── UniqueKeyTakenError
    ├── MalformedPayloadError         stored text is not what we wrote
    │   └── UnknownClassError         it is, but its enum or dataclass is another here
    └── StoreError                    the store could not answer
        ├── StoreBusyError
        ├── StoreFullError
        ├── StoreReadOnlyError
        ├── StoreCorruptError
        ├── StoreLostError
        ├── StoreUncertainError
        └── StoreMismatchError

Each error keeps its facts as attributes, survives pickling, and says what to type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from queue import Full
from typing import Any, ClassVar


def closest(name: str, known: Sequence[str]) -> str:
    """Return a sentence naming what *name* was probably meant to be, or nothing."""
    matches = get_close_matches(name, known, n=3)
    return f" Closest: {', '.join(map(repr, matches))}." if matches else ""


class LaterError(Exception):
    """Base of all errors of this package.

    Those that have facts are dataclasses, and keep them when they are pickled.
    """

    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        facts = tuple(getattr(self, name) for name in self.__match_args__)
        return type(self), facts or self.args, self.__dict__


# Configuration


class ConfigurationError(LaterError, RuntimeError):
    """The application is put together wrongly; raised when it starts."""


@dataclass(eq=False, repr=False)
class UnknownSettingError(ConfigurationError):
    """The app's config holds a ``LATER_*`` key that does not exist."""

    key: str
    known: Sequence[str]

    def __str__(self) -> str:
        return (
            f"There is no setting {self.key!r}.{closest(self.key, self.known)} "
            f"Remove it from app.config or correct its name."
        )


@dataclass(eq=False, repr=False)
class InvalidSettingError(ConfigurationError):
    """A ``LATER_*`` key, or an option, holds a value that it cannot have."""

    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.key} is {self.value}, expected {self.expected}."


@dataclass(eq=False, repr=False)
class AlreadyInitializedError(ConfigurationError):
    """``init_app`` met an app that already has a ``Later``."""

    app: str

    def __str__(self) -> str:
        return (
            f"The Flask app {self.app!r} already has a 'Later' instance. "
            f"Call init_app once for each app, and import that instance where you need it."
        )


@dataclass(eq=False, repr=False)
class NotInitializedError(ConfigurationError):
    """The current app is not registered with the ``Later`` that was asked."""

    app: str
    owner: str | None
    asked: str

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


@dataclass(eq=False, repr=False)
class NotInstalledError(ConfigurationError):
    """A store or engine needs a library that is not installed."""

    wanted: str
    module: str
    extra: str

    def __str__(self) -> str:
        return (
            f"{self.wanted} needs the module {self.module!r}, which is not installed. "
            f'Type: pip install "Flask-Later[{self.extra}]"'
        )


@dataclass(eq=False, repr=False)
class UnsupportedError(ConfigurationError):
    """A task, or a setting, needs what the configured store or engine cannot do."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}. {self.remedy}"


@dataclass(eq=False, repr=False)
class InvalidTaskError(ConfigurationError, TypeError):
    """What was decorated cannot be a task, a service or a callback."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.why}. {self.remedy}"


@dataclass(eq=False, repr=False)
class NameTakenError(ConfigurationError):
    """Two tasks, groups or services want the same name."""

    kind: str
    name: str
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"The {self.kind} name {self.name!r} is taken: first at {self.first}, "
            f"again at {self.second}. Give one of them another name: name='...'."
        )


# Usage


class UsageError(LaterError, RuntimeError):
    """The call is right, but not here or not now."""


@dataclass(eq=False, repr=False)
class OutsideAppContextError(UsageError):
    """Something that belongs to an app was used while no app was active."""

    what: str
    example: str

    def __str__(self) -> str:
        return (
            f"Working outside of application context: {self.what} where no Flask app is active. "
            f"Use it in a view or a 'flask' command, or write: "
            f"with app.app_context(): {self.example} "
            f"(In a script at import time? Move the call into a function.)"
        )


@dataclass(eq=False, repr=False)
class OutsideRequestError(UsageError):
    """``after_this_response`` was called where there is no response to come."""

    app: str | None

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


@dataclass(eq=False, repr=False)
class NotServingError(UsageError):
    """Something was asked of a process that has not begun to work for the app."""

    app: str
    consequence: str
    remedy: str = ""

    def __str__(self) -> str:
        text = (
            f"This process does not serve the app {self.app!r}, so {self.consequence}. "
            f"Begin to work here with later.start(app)"
        )
        return f"{text}, or {self.remedy}." if self.remedy else f"{text}."


@dataclass(eq=False, repr=False)
class ManualModeError(UsageError):
    """Waiting was asked for while nothing runs by itself."""

    what: str

    def __str__(self) -> str:
        return (
            f"{self.what} would wait for ever: LATER_MANUAL is on (it follows app.testing), so "
            f"nothing runs by itself. Call flask_later.testing.run_all(app) first, or set "
            f"LATER_MANUAL = False for a live server."
        )


@dataclass(eq=False, repr=False)
class NotManualError(UsageError):
    """The test kit was asked to run what runs by itself."""

    what: str
    app: str

    def __str__(self) -> str:
        return (
            f"{self.what} was called for the app {self.app!r}, where LATER_MANUAL is off: threads "
            f"run its work, by the real clock. Set app.testing = True or LATER_MANUAL = True "
            f"before its first use, or wait for a job with job.wait(timeout=5)."
        )


@dataclass(eq=False, repr=False)
class EndlessWorkError(UsageError):
    """The test kit ran so much that the work probably makes more work for ever."""

    limit: int
    last: str

    def __str__(self) -> str:
        return (
            f"More than {self.limit} jobs and callbacks have run, the last of them {self.last}. "
            f"Does it enqueue itself, or raise TryAgain() without a delay? If it really is that "
            f"much, say so: limit={10 * self.limit}."
        )


@dataclass(eq=False, repr=False)
class WaitInsideJobError(UsageError):
    """A job waited for another job of its own worker, which can deadlock."""

    waiting: str
    job_id: str

    def __str__(self) -> str:
        return (
            f"Task {self.waiting!r} waits for job {self.job_id} on the threads that should run it: "
            f"with every thread waiting, nothing would run. Enqueue the rest of the work as a job "
            f"of its own, or call the task's function directly."
        )


@dataclass(eq=False, repr=False)
class UnknownServiceError(UsageError, LookupError):
    """The app has no such service."""

    name: str
    known: Sequence[str]

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return (
            f"There is no service {self.name!r}.{closest(self.name, self.known)} "
            f"Known services: {known}. Is its module imported by create_app()?"
        )


# Enqueue


class EnqueueError(LaterError):
    """Nothing was stored; the caller still has the work in hand."""


@dataclass(eq=False, repr=False)
class ArgumentsError(EnqueueError, TypeError):
    """The arguments do not fit the task's signature."""

    task: str
    reason: str
    signature: str

    def __str__(self) -> str:
        return f"{self.task}: {self.reason} (signature: {self.signature})"


@dataclass(eq=False, repr=False)
class NotSerializableError(EnqueueError, TypeError):
    """A value cannot make the JSON round trip; its content is never shown."""

    path: str
    value_type: str
    hint: str

    def __str__(self) -> str:
        return f"{self.path} is a {self.value_type} and cannot be stored. {self.hint}"


@dataclass(eq=False, repr=False)
class PayloadTooLargeError(EnqueueError, ValueError):
    """Arguments, or a result, are larger than the configured limit, in bytes."""

    what: str
    size: int
    limit: int

    def __str__(self) -> str:
        return (
            f"{self.what} takes {self.size:,} bytes, the limit is {self.limit:,}. "
            f"Store the data (a file, a row) and pass its path or id."
        )


@dataclass(eq=False, repr=False)
class UnknownQueueError(EnqueueError, LookupError):
    """``LATER_QUEUES`` is a list, and the job's queue is not on it."""

    queue: str
    known: Sequence[str]

    def __str__(self) -> str:
        return (
            f"Queue {self.queue!r} is not in LATER_QUEUES, so no worker would take the job."
            f"{closest(self.queue, self.known)} Queues: {', '.join(self.known)}."
        )


@dataclass(eq=False, repr=False)
class QueueFullError(EnqueueError):
    """With ``size`` jobs more, more would wait than ``LATER_MAX_PENDING`` allows."""

    pending: int
    limit: int
    size: int = 1

    def __str__(self) -> str:
        refused = "the job was not stored"
        if self.size > 1:
            refused = f"none of the {self.size:,} jobs of this batch was stored"
        return (
            f"{self.pending:,} jobs wait and LATER_MAX_PENDING is {self.limit:,}; {refused}. "
            f"Answer 503, add workers, or raise LATER_MAX_PENDING."
        )


@dataclass(eq=False, repr=False)
class CallbackQueueFullError(EnqueueError):
    """As many callbacks wait as ``LATER_MAX_CALLBACKS`` allows."""

    callback: str
    limit: int

    def __str__(self) -> str:
        return (
            f"{self.limit:,} callbacks already wait (LATER_MAX_CALLBACKS); {self.callback!r} was "
            f"not kept. Work that may pile up belongs in a task, which is stored."
        )


@dataclass(eq=False, repr=False)
class ServiceQueueFullError(EnqueueError, Full):
    """As many items wait for a ``QueueService`` as its ``maxsize`` allows."""

    service: str
    maxsize: int

    def __str__(self) -> str:
        return (
            f"{self.maxsize:,} items already wait for the service {self.service!r} (maxsize); this "
            f"one was not kept. Wait for room with put(item, timeout=...), raise maxsize, or "
            f"enqueue a task, which is stored."
        )


@dataclass(eq=False, repr=False)
class ServiceStoppedError(EnqueueError):
    """The service is stopped, or stopping, so nothing would handle the item."""

    service: str

    def __str__(self) -> str:
        return (
            f"The service {self.service!r} does not run in this process, so nothing would handle "
            f"the item; it was not kept. Start it with later.services[{self.service!r}].start(), "
            f"or enqueue a task, which is stored."
        )


# Jobs


class JobError(LaterError):
    """About one job."""


@dataclass(eq=False, repr=False)
class JobNotFoundError(JobError, LookupError):
    """No job has this id: it never existed, or its time to live is over."""

    job_id: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"There is no job {self.job_id!r}: the id is wrong, or its record has expired."
        return f"{text} {self.hint}" if self.hint else text


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

    def __str__(self) -> str:
        return f"Job {self.job_id} is still {self.state} after {self.timeout:g} s; it goes on."


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


# Stored text and the store


@dataclass(eq=False, repr=False)
class MalformedPayloadError(LaterError, ValueError):
    """Stored text is not what this version of the package writes."""

    reason: str

    def __str__(self) -> str:
        return f"The stored payload cannot be read: {self.reason}."


@dataclass(eq=False, repr=False)
class UnknownClassError(MalformedPayloadError):
    """A stored enum member or dataclass that this code does not have, or has otherwise."""


class StoreError(LaterError):
    """The store could not answer; what was asked for may not have happened."""


@dataclass(eq=False, repr=False)
class StoreBusyError(StoreError):
    """The store stayed locked for the whole time allowed; nothing was stored."""

    waited: float

    def __str__(self) -> str:
        return (
            f"The store was locked by another process for {self.waited:g} s; nothing was stored. "
            f"Is another program holding a transaction on the file open?"
        )


@dataclass(eq=False, repr=False)
class StoreFullError(StoreError):
    """There is no room for another job on the disk; nothing was stored."""

    address: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.address}: {self.reason}; nothing was stored. Answer 503, and make room on that "
            f"disk, for example with: flask later prune"
        )


@dataclass(eq=False, repr=False)
class StoreReadOnlyError(StoreError):
    """This process may read the store and not write to it; nothing was stored."""

    address: str

    def __str__(self) -> str:
        return (
            f"{self.address} cannot be written to; nothing was stored. Its disk or its mode is "
            f"read-only, or it belongs to another user: ls -la '{self.address}'*"
        )


@dataclass(eq=False, repr=False)
class StoreCorruptError(StoreError):
    """The file is damaged. It is left as it is: most of it can be saved."""

    address: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.address} is damaged ({self.reason}). Stop all processes that use it and copy "
            f"it with what lies beside it, then save what can be read: "
            f"sqlite3 '{self.address}' .recover | sqlite3 saved.sqlite3"
        )


@dataclass(eq=False, repr=False)
class StoreLostError(StoreError):
    """The files of the store are deleted or replaced again and again; nothing was stored."""

    address: str

    def __str__(self) -> str:
        return (
            f"{self.address} was deleted or replaced while this process uses it, and again when it "
            f"was opened anew; nothing was stored. Stop all processes that use it before you put "
            f"another file in its place."
        )


@dataclass(eq=False, repr=False)
class StoreUncertainError(StoreError):
    """The disk failed, also when it was tried again: nobody knows what was stored."""

    address: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.address}: the disk reports an error ({self.reason}), so it is not known what "
            f"was stored. Look into the system's log: dmesg | tail"
        )


@dataclass(eq=False, repr=False)
class StoreMismatchError(StoreError):
    """What lies at the store's address was not written by this package, or by a newer one."""

    address: str
    reason: str

    def __str__(self) -> str:
        return f"{self.address} is not a store this version can use: {self.reason}."
