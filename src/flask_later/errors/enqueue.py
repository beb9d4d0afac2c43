"""Nothing was stored, or kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from queue import Full

from .base import LaterError
from .words import closest, with_article


class EnqueueError(LaterError):
    """Nothing was stored; the caller still has the work in hand."""


@dataclass(eq=False, repr=False)
class ArgumentsError(EnqueueError, TypeError):
    """The arguments do not fit the task's signature."""

    task: str
    reason: str
    signature: str
    #: Where they were given, as ``file:line``.
    place: str

    def __str__(self) -> str:
        return f"{self.task}: {self.reason} (enqueued at {self.place}; signature: {self.signature})"


@dataclass(eq=False, repr=False)
class NotSerializableError(EnqueueError, TypeError):
    """A value cannot make the JSON round trip; its content is never shown."""

    path: str
    value_type: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path} is {with_article(self.value_type)} and cannot be stored. {self.advice}"


@dataclass(eq=False, repr=False)
class PayloadTooLargeError(EnqueueError, ValueError):
    """Arguments, or a result, are larger than the limit, in bytes, that ``setting`` names."""

    what: str
    size: int
    limit: int
    setting: str = ""

    def __str__(self) -> str:
        alternative = f", or raise {self.setting}" if self.setting else ""
        return (
            f"{self.what} takes {self.size:,} bytes, the limit is {self.limit:,}. "
            f"Store the data (a file, a row) and pass its path or id{alternative}."
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
class PrincipalQueueFullError(EnqueueError):
    """Of one principal more jobs would wait than ``LATER_MAX_PENDING_PER_PRINCIPAL`` allows."""

    pending: int
    limit: int

    def __str__(self) -> str:
        return (
            f"{self.pending:,} jobs of one principal wait and LATER_MAX_PENDING_PER_PRINCIPAL is "
            f"{self.limit:,}; the job was not stored. Answer 429, or raise "
            f"LATER_MAX_PENDING_PER_PRINCIPAL."
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
