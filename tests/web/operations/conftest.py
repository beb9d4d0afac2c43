"""An app with async routes, worked by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.shop import PATIENCE

from .site import Site

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site() -> MakeSite:
    """Make an app with these settings, without the ``LATER_``."""
    return Site


@pytest.fixture
def working() -> Iterator[MakeSite]:
    """Make an app with these settings, whose jobs run on threads by themselves."""
    sites: list[Site] = []

    def make(**settings: Any) -> Site:
        site = Site(MANUAL=False, **settings)
        sites.append(site)
        site.later.start(site.app)
        return site

    yield make
    for site in sites:
        for gate in site.gates:
            gate.set()
        site.later.stop(site.app, PATIENCE)


@pytest.fixture
def site() -> Site:
    return Site()
