"""The lines with which a uWSGI worker begins before its first request."""

from __future__ import annotations

from app import create_app, later
from uwsgidecorators import postfork

application = create_app()


@postfork
def begin():
    later.start(application)
