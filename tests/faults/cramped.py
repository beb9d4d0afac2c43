"""Enqueues where no file may grow any more, and again where it may."""

from __future__ import annotations

import resource

from app import create_app, effect, produce

app = create_app()
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
with app.app_context():
    produce(effect)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, most))
    while produce(effect, 0, "x" * 5_000):
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    produce(effect)
