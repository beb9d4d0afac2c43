"""A process that enqueues, one job after the other, and runs them: ``python both.py``."""

from __future__ import annotations

from app import create_app, effect, later, produce
from events import PATIENCE

app = create_app()
later.start(app)
with app.app_context():
    while job := produce(effect):
        later.job(job).wait(timeout=PATIENCE)
