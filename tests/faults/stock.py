"""Enqueues many jobs that leave no trace, a thousand in a commit: ``stock.py COUNT``."""

from __future__ import annotations

import sys

from app import create_app, later, trifle

count = int(sys.argv[1])
with create_app().app_context():
    for first in range(0, count, 1000):
        last = min(first + 1000, count)
        later.enqueue_many(trifle.call(number) for number in range(first, last))
