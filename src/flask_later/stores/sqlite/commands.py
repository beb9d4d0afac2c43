"""Carrying out what people order to be done with a job."""

from __future__ import annotations

from flask_later.core.job import Annotate, Command, Discard, JobRecord, Retry
from flask_later.core.states import commanded
from flask_later.errors import JobNotFoundError, UniqueKeyTakenError
from flask_later.stores.large import LargeTexts

from .adding import Adding
from .jobs import Jobs


def carry_out(
    jobs: Jobs, job_id: str, command: Command, adding: Adding, large: LargeTexts
) -> JobRecord:
    """See :meth:`flask_later.core.store.Store.command`."""
    before = jobs.load(job_id)
    if before is None:
        raise JobNotFoundError(job_id)
    after = commanded(before, command, jobs.now)
    if isinstance(command, Discard):
        jobs.discard(before)
        # While its files are there.
        return large.fetched(before)
    if isinstance(command, Retry) and after.unique_key is not None:
        holder = jobs.holder(after.unique_key, besides=job_id)
        if holder is not None:
            raise UniqueKeyTakenError(job_id, after.unique_key, holder.id)
    if isinstance(command, Annotate):
        adding.require_places(jobs, [after])
    return jobs.save(before, after)
