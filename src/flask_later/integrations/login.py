"""Flask-Login: who is logged in starts operations, and is ``current_user`` in their jobs.

``Later`` takes this up by itself for an app with a ``LoginManager``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flask import g

from flask_later.tasks.state import get_app


def identify() -> str | None:
    """Return the id of who is logged in; None for nobody."""
    current_user: Any = import_module("flask_login").current_user
    user_id: object = current_user.get_id()
    return None if user_id is None else str(user_id)


def restore(user_id: str) -> None:
    """Be that user for the rest of the request; nobody, if the app does not know it any more."""
    manager = vars(get_app())["login_manager"]
    user = manager._user_callback(user_id) if manager._user_callback else None
    # login_user() would write it into a session, of which there is none here.
    g._login_user = manager.anonymous_user() if user is None else user
