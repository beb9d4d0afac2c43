"""Name -> measurement: what a plan can name. Those of the durable suite, with other queues."""

from __future__ import annotations

from bench.durable.measures import MEASURES

__all__ = ["MEASURES"]
