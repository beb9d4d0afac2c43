"""What a worker and its store tell each other about attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from flask_later.core.job import ErrorRecord, Hint, JobRecord, Progress


class Claim(NamedTuple):
    """The right to run a job and to settle it, as long as the store's fence is still this one."""

    job_id: str
    fence: int


class Succeeded(NamedTuple):
    """The function returned; ``result`` is JSON text."""

    claim: Claim
    result: str


class Failed(NamedTuple):
    """The job failed for good.

    ``taken``: the attempt was taken from a thread that still runs, so whatever it writes from now
    on has to be stale. ``result``: what it leaves all the same, as JSON text.
    """

    claim: Claim
    error: ErrorRecord
    taken: bool = False
    result: str | None = None


class Again(NamedTuple):
    """Run it again at ``run_at``. With an ``error`` it counts as a failure, without it does not."""

    claim: Claim
    run_at: datetime
    error: ErrorRecord | None = None
    taken: bool = False


class Released(NamedTuple):
    """The attempt is given back and does not count: its process stops, or it never began.

    One that has not ``begun`` is not even counted as given back.
    """

    claim: Claim
    begun: bool = True


class Cancelled(NamedTuple):
    """The running attempt followed a request to cancel."""

    claim: Claim


class Parked(NamedTuple):
    """The code here cannot run the job: ``signature`` is the digest it did not fit, if any."""

    claim: Claim
    error: ErrorRecord
    signature: str | None = None


Outcome = Succeeded | Failed | Again | Released | Cancelled | Parked


def never_began(outcome: Outcome) -> bool:
    """Whether its attempt is given back that was claimed and nothing else."""
    return isinstance(outcome, Released) and not outcome.begun


class Want(NamedTuple):
    """What a worker asks for: up to ``limit`` jobs.

    ``queues`` in strict order, or None for any queue, best rank first. ``prefer`` names a queue to
    look at first, and its job if that one is the queue's best.
    """

    limit: int = 1
    queues: tuple[str, ...] | None = None
    prefer: Hint | None = None


NOTHING = Want(limit=0)


class Handover(NamedTuple):
    """What an exchange did: claimed records, and each outcome as done or stale.

    ``cancelled``: what it cancelled although no outcome says so. Somebody had asked to cancel a job
    that would have waited again, or a job had expired.
    """

    claimed: Sequence[JobRecord] = ()
    done: Sequence[Claim] = ()
    stale: Sequence[Claim] = ()
    cancelled: Sequence[JobRecord] = ()


class Note(NamedTuple):
    """News of a running attempt: its progress, if it changed, and new log lines."""

    claim: Claim
    progress: Progress | None = None
    lines: Sequence[str] = ()
