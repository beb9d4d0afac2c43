"""What happened, told from the effects of the tasks and from the database alone.

It knows none of our classes, and of our tables only ``job (id, state, fence, result)``. Triggers of
its own note every change of a job within the transaction that makes it.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

from tests.live.events import EventLog

FINAL = ("succeeded", "failed", "cancelled")
#: What most keys look like: to look for each of them in each of many jobs would take minutes.
_KEY = re.compile(r"[0-9a-f]{32}")

_AUDIT = """
    CREATE TABLE audit (
        n INTEGER PRIMARY KEY, job TEXT, was TEXT, now TEXT, fence_was INTEGER, fence INTEGER
    );
    CREATE TRIGGER audit_insert AFTER INSERT ON job BEGIN
        INSERT INTO audit (job, was, now, fence_was, fence)
        VALUES (NEW.id, NULL, NEW.state, NULL, NEW.fence);
    END;
    CREATE TRIGGER audit_update AFTER UPDATE OF state, fence ON job
    WHEN OLD.state <> NEW.state OR OLD.fence <> NEW.fence BEGIN
        INSERT INTO audit (job, was, now, fence_was, fence)
        VALUES (NEW.id, OLD.state, NEW.state, OLD.fence, NEW.fence);
    END;
    CREATE TRIGGER audit_delete AFTER DELETE ON job BEGIN
        INSERT INTO audit (job, was, now, fence_was, fence)
        VALUES (OLD.id, OLD.state, NULL, OLD.fence, NULL);
    END;
"""


@contextmanager
def opened(path: Path, patience: float = 30.0) -> Iterator[sqlite3.Connection]:
    """A connection of another program, in its own transactions."""
    with closing(sqlite3.connect(path, timeout=patience, isolation_level=None)) as db:
        yield db


def watch(path: Path) -> None:
    """Note every change of a job from now on."""
    with opened(path) as db:
        db.executescript(_AUDIT)


class Change(NamedTuple):
    """One change of a job, in the order of the commits. None: it was not there."""

    job: str
    was: str | None
    now: str | None
    fence_was: int | None
    fence: int | None


@dataclass(frozen=True)
class Verdict:
    """The figures of a run; all of the sets are of jobs, but for *unexpected*: keys."""

    acknowledged: int
    recovered: int
    started: int
    #: Acknowledged, and not done.
    lost: frozenset[str]
    #: Run, or stored, although nobody asked for it.
    unexpected: frozenset[str]
    #: Ended more than once.
    finished_twice: frozenset[str]
    #: A claim without a new fence, or a fence that went back.
    fence_wrong: frozenset[str]
    #: One hand-over that ran more than once.
    handed_twice: frozenset[str]
    #: Runs beyond the first of each job.
    duplicates: int
    integrity: str

    def assert_held(self, *, duplicates: int) -> None:
        """All promises were kept; jobs ran again at most *duplicates* times."""
        assert self.integrity == "ok"
        assert not self.lost
        assert not self.unexpected
        assert not self.finished_twice
        assert not self.fence_wrong
        assert not self.handed_twice
        assert self.duplicates <= duplicates

    @property
    def figures(self) -> dict[str, object]:
        return {
            "acknowledged": self.acknowledged,
            "recovered": self.recovered,
            "lost": len(self.lost),
            "unexpected": len(self.unexpected),
            "finished twice": len(self.finished_twice),
            "fence wrong": len(self.fence_wrong),
            "handed twice": len(self.handed_twice),
            "duplicates": self.duplicates,
            "integrity": self.integrity,
        }


def judge(path: Path, events: EventLog) -> Verdict:
    """Compare what was asked for, what ran, and what is stored in the file."""
    with opened(path) as db:
        ((integrity,), *_) = db.execute("PRAGMA integrity_check").fetchall()
        stored = db.execute("SELECT id, payload FROM job").fetchall()
        changes = [Change(*row) for row in db.execute(
            "SELECT job, was, now, fence_was, fence FROM audit ORDER BY n"
        )]  # fmt: skip
    return compare(events, stored, changes, integrity)


def compare(
    events: EventLog,
    stored: Sequence[tuple[str, str]],
    changes: Sequence[Change],
    integrity: str = "ok",
) -> Verdict:
    """Compare what was asked for and what ran with *stored*, the ids and arguments of all jobs."""
    log = events.all()
    asked = {event["key"] for event in log if event.name == "offered"}
    acknowledged = {event["job"] for event in log if event.name == "acknowledged"}
    starts = [event for event in log if event.name == "start"]
    ended = {event["job"] for event in log if event.name == "end"}
    runs = Counter(event["job"] for event in starts)
    handed = Counter((event["job"], event["fence"]) for event in starts)
    done = ended & {each.job for each in changes if each.now == "succeeded"}
    return Verdict(
        acknowledged=len(acknowledged),
        recovered=len(done - acknowledged),
        started=len(runs),
        lost=frozenset(acknowledged - done),
        unexpected=frozenset(
            {event["key"] for event in starts} - asked
            | {job for job, payload in stored if not _is_of_one(payload, asked)}
        ),
        finished_twice=frozenset(_finished_twice(changes)),
        fence_wrong=frozenset(_fence_wrong(changes)),
        handed_twice=frozenset(job for (job, _), times in handed.items() if times > 1),
        duplicates=sum(runs.values()) - len(runs),
        integrity=integrity,
    )


def _is_of_one(payload: str, asked: Set[str]) -> bool:
    """Whether the arguments of a job have one of the keys in them."""
    return not asked.isdisjoint(_KEY.findall(payload)) or any(key in payload for key in asked)


def _finished_twice(changes: Iterable[Change]) -> Iterator[str]:
    ends = Counter(
        each.job for each in changes if each.now in FINAL or (each.was in FINAL and each.now)
    )
    return (job for job, times in ends.items() if times > 1)


def _fence_wrong(changes: Iterable[Change]) -> Iterator[str]:
    by_job = sorted(changes, key=lambda each: each.job)
    for job, mine in groupby(by_job, key=lambda each: each.job):
        if any(_is_wrong(before, after) for before, after in pairwise(mine)):
            yield job


def _is_wrong(before: Change, after: Change) -> bool:
    if after.fence is None or before.fence is None:
        return False
    if after.now == "running" and after.was != "running":
        return after.fence <= before.fence
    return after.fence < before.fence
