"""How many jobs of one principal may wait.

They are counted, by an index of those that wait. Who is near the limit holds a lock meanwhile, so
that of two requests for the last place only one gets it; far from it nobody has to wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from sqlalchemy import bindparam, func, select

from flask_later.core.job import JobRecord
from flask_later.core.places import require_places, takes_place

from .jobs import Jobs
from .tables import job

#: Jobs below the limit from which on those who add at the same time wait for each other.
_NEAR = 20
_COUNT = select(func.count()).select_from(
    select(job.c.rank)
    .where(job.c.pending_of == bindparam("principal"))
    # No other index has this order.
    .order_by(job.c.rank)
    # No more of them than matter, whoever has how many.
    .limit(bindparam("most"))
    .subquery()
)


class Places:
    """Those of all principals, *most* for each; None: as many as may wait at all."""

    def __init__(self, most: int | None) -> None:
        self._most = most

    def locks(self, jobs: Jobs, records: Sequence[JobRecord]) -> set[str]:
        """Return the names of the locks to hold while *records* are added; none far from it."""
        most = self._most
        if most is None:
            return set()
        principals = {str(each.principal) for each in records if takes_place(each)}
        few = most - _NEAR - len(records)
        return {f"principal {each}" for each in principals if _count(jobs, each, most) > few}

    def require(self, jobs: Jobs, new: Iterable[JobRecord]) -> None:
        """Refuse *new* if more jobs of one principal would wait then than may.

        :raises PrincipalQueueFullError: if so.
        """
        require_places(new, partial(_count, jobs), self._most)


def _count(jobs: Jobs, principal: str, most: int) -> int:
    return int(jobs.db.execute(_COUNT, {"principal": principal, "most": most}).scalar_one())
