"""What is measured together, of whom, and what is wanted of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import truediv
from typing import NamedTuple


class Step(NamedTuple):
    """One measurement of one peer, in a process of its own."""

    suite: str
    measure: str
    peer: str
    #: Runs at most, for what takes long.
    runs: int = 100
    #: Whether all peers of the measure are measured at the same time: see ``runner``.
    together: bool = False
    #: Whether it takes too long for a quick run.
    long: bool = False


class Goal(NamedTuple):
    """What is wanted of *figure* of *ours*: alone, or compared with a figure of a peer."""

    text: str
    figure: str
    ours: str
    limit: float
    at_least: bool = False
    #: The figure and the peer that it is compared with, run by run.
    of: tuple[str, str] | None = None
    compare: Callable[[float, float], float] = truediv


class Chart(NamedTuple):
    """A bar for each peer that *figure* was measured of."""

    name: str
    title: str
    figure: str
    unit: str
    more_is_better: bool = False


class Conditions(NamedTuple):
    """What of a plan can be measured here, and what each step needs in its environment."""

    plan: Sequence[Step]
    environment: Callable[[Step], Mapping[str, str]]
    #: A line for each peer, or measure, that is left out.
    skipped: Sequence[str] = ()


class Suite(NamedTuple):
    name: str
    plan: Sequence[Step]
    #: Name -> title, in the order of the tables.
    peers: Mapping[str, str]
    figures: Sequence[Mapping[str, str]]
    goals: Sequence[Goal]
    charts: Sequence[Chart]
    packages: Sequence[str]
    prepare: Callable[[Sequence[Step]], AbstractContextManager[Conditions]]
    #: Measurements of all peers, run by run.
    runs: int = 5
    quick_runs: int = 2
    #: The peer that shows what the goals ask for at the least, if there is one.
    floor: str | None = None
    #: Whether the tables have a row for each peer, and a column for each figure.
    peers_down: bool = False
