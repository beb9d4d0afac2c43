"""An operation: a job that clients may follow, with what was noted when it was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flask_later.config import Settings
from flask_later.core.job import FINISHED, Glance, JobRecord, JobState
from flask_later.tasks.snapshot import operation_of

#: Seconds at the end of a record's life in which clients hear that it is gone, and no more.
_TOMBSTONE = 86_400.0


class Operation(NamedTuple):
    """A job that was accepted by a route, as ``authorize`` hooks get it."""

    #: As a whole, or as it is seen at a glance.
    record: JobRecord | Glance
    #: The principal that it belongs to; None if it was started by nobody in particular.
    owner: str | None
    #: Whether its result is the response of a view.
    is_view: bool = False
    #: Where clients find the result, if not under the operation itself.
    result_url: str | None = None
    #: What people read above its progress; None: its task's name.
    title: str | None = None
    #: The digest of the request that it stands for, if that had an ``Idempotency-Key``.
    fingerprint: str | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def task(self) -> str:
        """The name of the job's task."""
        return self.record.task

    @property
    def whole(self) -> JobRecord:
        """The record, where that was read as a whole."""
        assert isinstance(self.record, JobRecord), "only a glance was taken at it"
        return self.record

    @property
    def is_done(self) -> bool:
        return self.record.state in FINISHED

    def facts(self) -> Mapping[str, object]:
        """What is stored with the job, beside its id."""
        facts = self._asdict()
        del facts["record"]
        return {name: value for name, value in facts.items() if value or name == "owner"}


def operation(record: JobRecord | Glance) -> Operation | None:
    """Return the operation that *record* is, or None for a job that nobody outside may see."""
    facts: Mapping[str, Any] | None = operation_of(record.context)
    if facts is None:
        return None
    return Operation(
        record,
        facts.get("owner"),
        facts.get("is_view") is True,
        facts.get("result_url"),
        facts.get("title"),
        facts.get("fingerprint"),
    )


def expires_at(record: JobRecord | Glance, settings: Settings) -> datetime | None:
    """Return when clients find nothing any more; None while it is not finished.

    The record itself stays a day longer, to tell them that it is gone: half of its life if that
    is short.
    """
    if record.finished_at is None:
        return None
    succeeded = record.state is JobState.SUCCEEDED
    keep = settings.keep_succeeded if succeeded else settings.keep_failed
    return record.finished_at + timedelta(seconds=keep - min(_TOMBSTONE, keep / 2))
