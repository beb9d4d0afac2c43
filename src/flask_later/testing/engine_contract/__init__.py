"""What every engine must do: the promises of :class:`~flask_later.core.engine.Engine`, as tests.

::

    class TestMyEngine(EngineContract):
        @pytest.fixture
        def make_engine(self):
            return MyEngine                  # called without arguments, once for each app

        @pytest.fixture
        def make_store(self):
            return MemoryStore               # called with the clock

The jobs run in the process of the tests, on a clock that the tests move.
"""

from __future__ import annotations

from .base import MakeSystem, System
from .commanding import CommandingContract
from .running import RunningContract
from .stopping import StoppingContract
from .surroundings import SurroundingsContract
from .timing import TimingContract

__all__ = ["EngineContract", "MakeSystem", "System"]


class EngineContract(
    RunningContract, TimingContract, CommandingContract, StoppingContract, SurroundingsContract
):
    """Subclass it in a test file as ``Test...``, with ``make_engine`` and ``make_store``."""
