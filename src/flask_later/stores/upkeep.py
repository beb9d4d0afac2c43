"""The steps of a sweep over a database: what becomes of the rows that its store has found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from flask_later.core.clock import Clock
from flask_later.core.job import Hint, JobRecord, JobState, hints_to
from flask_later.core.states import expired, has_crashed, rescued_together, resumed
from flask_later.core.store import Swept
from flask_later.errors import StoreError
from flask_later.logs import Log

_logger = Log(__name__)

#: The most rows that one transaction moves, so that nobody waits long for them.
MAX_BATCH = 500
#: Seconds between two looks for what nobody waits for.
TIDY_EVERY = 5.0
#: Seconds between two counts of the finished jobs, which read an index of all of them.
COUNT_EVERY = 60.0
_NEVER = datetime.max.replace(tzinfo=UTC)


class Done(NamedTuple):
    """What a step did, to so many rows."""

    rows: int = 0
    hints: Sequence[Hint] = ()
    crashed: Sequence[JobRecord] = ()
    expired: Sequence[JobRecord] = ()


class Outlook(NamedTuple):
    """What the last sweep of a process has told of the time until the next."""

    #: When the next row falls due.
    next_due: datetime = _NEVER
    #: Whether nothing else may need a sweep before that.
    calm: bool = False

    def is_over(self, next_due: datetime | None, is_calm: Callable[[], bool]) -> bool:
        """Whether it looks otherwise now, so that a sweep is due."""
        if next_due is not None and next_due < self.next_due:
            return True
        return self.calm and not is_calm()


def outlook(swept: Swept) -> Outlook:
    """Return the outlook after a sweep."""
    return Outlook(swept.next_due or _NEVER, swept.calm)


class Step(Protocol):
    """One kind of upkeep."""

    @property
    def name(self) -> str: ...

    @property
    def every(self) -> float:
        """Seconds to the next look where nothing was found; to look may be dear."""
        ...


class Rota:
    """Whose turn it is, and which steps fail."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: The steps that failed when they were last taken, and how: said once.
        self._failing: dict[str, str] = {}
        #: When a step last found nothing.
        self._idle_at: dict[str, float] = {}

    def is_time(self, step: Step) -> bool:
        idle_at = self._idle_at.get(step.name)
        return idle_at is None or self._clock.monotonic() - idle_at >= step.every

    def found_nothing(self, step: Step) -> None:
        self._idle_at[step.name] = self._clock.monotonic()

    def complain(self, failures: Mapping[str, Exception]) -> None:
        """Say what failed, unless it failed in the same way the last time."""
        for step, error in failures.items():
            if self._failing.get(step) != repr(error):
                _logger.error(
                    "upkeep of the store: %s failed. The other steps go on; this is said once, "
                    "and tried again each time. %s",
                    step,
                    error,
                    # One of ours says all there is to say.
                    exc_info=None if isinstance(error, StoreError) else error,
                )
        self._failing = {step: repr(error) for step, error in failures.items()}


def in_batches(do: Callable[[int], Done], budget: int) -> Iterator[Done]:
    """Have *do* move so many rows at a time, up to *budget*, for as long as it finds as many."""
    left = budget
    while left > 0:
        batch = min(left, MAX_BATCH)
        done = do(batch)
        yield done
        left = left - batch if done.rows >= batch else 0


def swept(
    done: Sequence[Done],
    failed: Iterable[str],
    next_due: datetime | None = None,
    *,
    calm: bool = False,
) -> Swept:
    """Return what all steps did together, but for those that have *failed*."""
    return Swept(
        [hint for each in done for hint in each.hints],
        next_due,
        [record for each in done for record in each.crashed],
        [record for each in done for record in each.expired],
        calm,
        [*failed],
    )


# What the steps do


class _Jobs(Protocol):
    """The jobs in one transaction."""

    now: datetime

    def save_all(self, pairs: Sequence[tuple[JobRecord, JobRecord]]) -> list[JobRecord]: ...

    def delete(self, job_ids: Iterable[str]) -> None: ...


def expire(jobs: _Jobs, overdue: Sequence[JobRecord]) -> Done:
    """Cancel what nobody has begun in time."""
    saved = jobs.save_all([(record, expired(record, jobs.now)) for record in overdue])
    return Done(len(saved), expired=saved)


def rescue(store: str, jobs: _Jobs, lost: Sequence[JobRecord]) -> Done:
    """Take the jobs of dead workers from them."""
    pairs = [*zip(lost, rescued_together(lost, jobs.now), strict=True)]
    crashed = [after for before, after in pairs if has_crashed(before, after)]
    return _moved(store, jobs.save_all(pairs))._replace(crashed=crashed)


def stage(store: str, jobs: _Jobs, due: Sequence[JobRecord]) -> Done:
    """Queue what has fallen due."""
    queued = [(record, record._replace(state=JobState.QUEUED)) for record in due]
    return _moved(store, jobs.save_all(queued))


def unpark(store: str, jobs: _Jobs, fitting: Sequence[JobRecord]) -> Done:
    """Queue parked jobs that the code here may know how to run."""
    return _moved(store, jobs.save_all([(record, resumed(record, jobs.now)) for record in fitting]))


def delete(jobs: _Jobs, job_ids: Sequence[str]) -> Done:
    jobs.delete(job_ids)
    return Done(len(job_ids))


def _moved(store: str, records: Sequence[JobRecord]) -> Done:
    return Done(len(records), hints_to(store, records))
