"""Arguments and results that are too large for a row, put aside into files.

In the row stands a reference. It begins with a character with which no JSON text does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress

from flask_later.core.decoding import UNREADABLE, unreadable
from flask_later.core.exchange import Failed, Handover, Outcome, Succeeded
from flask_later.core.job import JobRecord, is_id
from flask_later.core.store import Added
from flask_later.errors import StoreError

from .files import Files

#: Characters, which are bytes in what is stored here, above which a text gets a file.
LARGE = 64 * 1024
#: Seconds between two searches for files whose job is gone.
_SWEEP_EVERY = 3600.0


def is_large(record: JobRecord) -> bool:
    """Whether the arguments of a new job get a file."""
    return len(record.payload) > LARGE and is_id(record.id)


def has_reference(record: JobRecord) -> bool:
    return record.payload[:1] == UNREADABLE or (record.result or "")[:1] == UNREADABLE


class LargeTexts:
    """Puts large texts aside before a commit, and fetches them after it.

    :param files: returns where they go.
    :param known: returns which of the ids that it is given are those of jobs.
    """

    def __init__(
        self, files: Callable[[], Files], known: Callable[[Collection[str]], Collection[str]]
    ) -> None:
        self._files = files
        self._known = known
        self._gone: deque[str] = deque()
        self._swept_at = -_SWEEP_EVERY

    # Before

    @contextmanager
    def put_aside(self, records: Sequence[JobRecord]) -> Generator[list[JobRecord]]:
        """Store the records that this yields; those that are not stored leave no file behind.

        :raises StoreError: if a file cannot be written.
        """
        try:
            yield [self._put_payload(each) if is_large(each) else each for each in records]
        finally:
            self._settle([record for record in records if is_large(record)])

    def _settle(self, records: Sequence[JobRecord]) -> None:
        # What cannot be looked up now is left to the sweep.
        with suppress(StoreError):
            known = self._known({record.id for record in records}) if records else ()
            for record in records:
                if record.id in known:
                    # Again, if they were stored in another store: this one was taken away.
                    self._put_payload(record)
                else:
                    self._files().delete([record.id])

    def put_results_aside(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Return *outcomes* with references in place of large results.

        :raises StoreError: if a file cannot be written.
        """
        if not any(_has_large_result(outcome) for outcome in outcomes):
            return outcomes
        return [self._put_result(each) for each in outcomes]

    def _put_payload(self, record: JobRecord) -> JobRecord:
        return record._replace(payload=self._put(record.id, "payload", record.payload))

    def _put_result(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Succeeded | Failed) or not _has_large_result(outcome):
            return outcome
        job_id, fence = outcome.claim
        # By its fence: an attempt that has lost the job must not touch the result of another.
        kind, result = f"result-{fence}", outcome.result or ""
        return outcome._replace(result=self._put(job_id, kind, result))

    def _put(self, job_id: str, kind: str, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        self._files().put(job_id, kind, [data])
        return f"{UNREADABLE}{kind} {len(data)}"

    # After

    def fetched(self, record: JobRecord) -> JobRecord:
        """Return *record* with its texts in place of references."""
        if not has_reference(record):
            return record
        result = record.result
        return record._replace(
            payload=self._fetch(record.id, record.payload),
            result=None if result is None else self._fetch(record.id, result),
        )

    def all_fetched(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        return [self.fetched(record) for record in records]

    def fetched_added(self, records: Sequence[JobRecord], added: Sequence[Added]) -> list[Added]:
        """Return what became of *records*, which were *added* with or without references."""
        return [
            Added(record, True, claimed) if created else Added(self.fetched(stored), False)
            for record, (stored, created, claimed) in zip(records, added, strict=True)
        ]

    def fetched_handover(self, handover: Handover) -> Handover:
        claimed, cancelled = handover.claimed, handover.cancelled
        if not any(map(has_reference, claimed)) and not any(map(has_reference, cancelled)):
            return handover
        return handover._replace(
            claimed=self.all_fetched(claimed), cancelled=self.all_fetched(cancelled)
        )

    def _fetch(self, job_id: str, text: str) -> str:
        """Return what a reference stands for, or a text that says on reading what is wrong."""
        if text[:1] != UNREADABLE:
            return text
        kind, _, size = text[1:].partition(" ")
        try:
            path = self._files().path(job_id, kind)
        except ValueError:
            return unreadable(f"{text[:80]!r} refers to no file")
        try:
            data = path.read_bytes()
        except OSError as error:
            return unreadable(
                f"its file {path} cannot be read ({error.strerror}). Is LATER_FILES the same for "
                f"all processes, and may they read it? job.retry() runs a job whose file is back"
            )
        if str(len(data)) != size:
            return unreadable(f"its file {path} has {len(data)} bytes in place of {size}")
        return data.decode("utf-8", "surrogatepass")

    # What is left over

    def forget(self, job_ids: Iterable[str]) -> None:
        """Note that these jobs are gone. Their files are deleted by :meth:`clean_up`."""
        self._gone.extend(job_ids)

    def clean_up(self) -> None:
        """Delete the files of jobs that are gone."""
        while self._gone:
            self._files().delete([self._gone.popleft()])

    def sweep(self) -> None:
        """Now and then, delete the files that a process which died has left behind."""
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP_EVERY:
            self._swept_at = now
            self._files().sweep(time.time(), self._known)


def _has_large_result(outcome: Outcome) -> bool:
    return isinstance(outcome, Succeeded | Failed) and len(outcome.result or "") > LARGE
