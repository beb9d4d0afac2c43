"""What a beat tells about attempts: which of them nobody has in hand any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from flask_later.core.exchange import Claim
from flask_later.core.store import BEAT

#: Microseconds for which beats may leave out an attempt.
_LEFT_OUT = int(BEAT * 1e6)


class Beat(NamedTuple):
    """What becomes of the attempts that the store believes a worker to have in hand."""

    #: Since when its beats have left one out; None where this one names it again.
    left_out: list[tuple[Claim, int | None]]
    #: Those that have been left out for too long.
    lost: list[Claim]

    @property
    def changes_nothing(self) -> bool:
        return not self.left_out and not self.lost


def beat(
    believed: Iterable[tuple[str, int, int | None]], holding: Collection[Claim], now: int
) -> Beat:
    """Compare what the store believes with what the worker says.

    :param believed: the id and the fence of each attempt, and since when it has been left out.
    :param now: in microseconds, as those are.
    """
    held = set(holding)
    answer = Beat([], [])
    for job_id, fence, since in believed:
        claim = Claim(job_id, fence)
        if claim in held:
            if since is not None:
                answer.left_out.append((claim, None))
        elif since is None:
            # This beat may have been on its way while the job was claimed.
            answer.left_out.append((claim, now))
        elif now - since >= _LEFT_OUT:
            answer.lost.append(claim)
    return answer
