"""The app, found as the ``flask`` command finds it: for commands that are not ours."""

from __future__ import annotations

import os

from flask import Flask
from flask.cli import ScriptInfo, load_dotenv

from flask_later.errors import NotInitializedError
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.tasks.state import KEY, AppState


def find_app(asked: str) -> tuple[AppState, Lifecycle]:
    """Return the app that FLASK_APP names, or that ``app.py`` or ``wsgi.py`` holds.

    :param asked: the command, for the error's text.
    :raises NotInitializedError: if the app has no ``Later``.
    """
    load_dotenv()
    app: Flask = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
    if KEY not in app.extensions:
        raise NotInitializedError(app.name, None, asked)
    return app.extensions[KEY], app.extensions[LIFECYCLE_KEY]
