"""Enqueues once while it runs and once while the interpreter ends."""

from __future__ import annotations

import atexit

from app import create_app, effect, later, produce

app = create_app()


def leave() -> None:
    with app.app_context():
        produce(effect)


atexit.register(leave)
later.start(app)
leave()
