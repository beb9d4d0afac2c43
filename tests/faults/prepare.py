"""Opens the store once, so that its file is there."""

from __future__ import annotations

from app import create_app

from flask_later.tasks.state import get_state

with create_app().app_context():
    get_state("prepare", "...").store.open()
