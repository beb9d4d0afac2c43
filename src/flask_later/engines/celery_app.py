"""The Celery app of the Flask app, for Celery's own command.

::

    celery -A flask_later.engines.celery_app worker

The Flask app is found as by the ``flask`` command: ``FLASK_APP``, ``app.py`` or ``wsgi.py``.
"""

from __future__ import annotations

from flask_later.engines.celery import CeleryEngine
from flask_later.engines.celery_worker import CeleryProcess
from flask_later.errors import UnsupportedError
from flask_later.runtime.app_finder import find_app

_COMMAND = "celery -A flask_later.engines.celery_app"

_state, _lifecycle = find_app(_COMMAND)
_engine = _state.engine
if not isinstance(_engine, CeleryEngine):
    raise UnsupportedError(
        _COMMAND,
        f"the engine of this app is {_state.settings.engine!r}",
        "Set LATER_ENGINE = 'celery'.",
    )

app = _engine.celery
CeleryProcess(_engine, _lifecycle, _state.settings.shutdown_timeout).listen()
