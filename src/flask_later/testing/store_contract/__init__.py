"""What every store must do: the promises of :class:`~flask_later.core.store.Store`, as tests.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock, limits):
            store = MyStore(clock, limits)
            store.open()
            yield store
            store.close()

A store that several processes share also overrides ``other``: a second handle on the same jobs.
One that can tell the end of a process also overrides ``end_process``, which simulates it.
"""

from __future__ import annotations

from .adding import AddingContract
from .base import PatientClock
from .claiming import ClaimingContract
from .commanding import CommandingContract
from .expiring import ExpiringContract
from .principals import PrincipalsContract
from .pruning import PruningContract
from .reading import ReadingContract
from .rehinting import RehintingContract
from .settling import SettlingContract
from .standing_by import StandingByContract
from .sweeping import SweepingContract
from .ticking import TickingContract
from .uniqueness import UniquenessContract
from .waiting import WaitingContract
from .working import WorkingContract

__all__ = ["PatientClock", "StoreContract"]


class StoreContract(
    AddingContract,
    UniquenessContract,
    ExpiringContract,
    ClaimingContract,
    SettlingContract,
    WorkingContract,
    CommandingContract,
    SweepingContract,
    RehintingContract,
    PrincipalsContract,
    PruningContract,
    TickingContract,
    ReadingContract,
    WaitingContract,
    StandingByContract,
):
    """Subclass it in a test file as ``Test...``, with a ``store`` fixture that opens yours."""
