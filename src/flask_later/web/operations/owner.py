"""Who may see an operation: the principal that started it, or whom the app's hook lets in."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flask import Flask

from flask_later.core.job import is_id
from flask_later.errors import InvalidSettingError
from flask_later.logs import Log
from flask_later.tasks.state import AppState

from .operation import Operation, operation
from .problems import UNKNOWN, refuse

_logger = Log(__name__)

_LONGEST_PRINCIPAL = 255


class Identity(NamedTuple):
    """How the app knows who asks.

    ``identify`` is called in requests and returns an id, or None for nobody in particular.
    ``restore`` gets that id in the job, before the view.
    """

    identify: Callable[[], object]
    restore: Callable[[str], object] | None = None


NOBODY = Identity(lambda: None)


class Access:
    """The rules of one ``Later``.

    :param guess: finds out how an app knows who asks that has not said so.
    """

    def __init__(self, guess: Callable[[Flask], Identity]) -> None:
        self._guess = guess
        self.identity: Identity | None = None
        self.authorize: Callable[[Operation], bool | None] | None = None

    def identity_of(self, app: Flask) -> Identity:
        return self.identity or self._guess(app)

    def principal(self, app: Flask) -> str | None:
        """Return who asks, as a text; None for nobody in particular.

        :raises InvalidSettingError: if no store could tell that id from another.
        """
        who = self.identity_of(app).identify()
        return None if who is None else _id_of(who)

    def find(self, state: AppState, operation_id: str) -> Operation:
        """Return the operation as it is now, without its arguments and its result.

        Refuses unless there is one, and who asks may see it.
        """
        record = state.store.glance(operation_id) if is_id(operation_id) else None
        found = None if record is None else operation(record)
        if found is None or not self.may_see(state.app, found):
            refuse(404, UNKNOWN)
        return found

    def may_see(self, app: Flask, found: Operation) -> bool:
        """Whether who asks may see, and cancel and delete, *found*.

        The hook decides, if there is one and it returns True or False. Otherwise what was started
        by a principal is for that one alone, and for everything else to know its id is enough.
        """
        verdict = self._verdict(found)
        if verdict is not None:
            return verdict
        return found.owner is None or found.owner == self.principal(app)

    def _verdict(self, found: Operation) -> bool | None:
        if self.authorize is None:
            return None
        try:
            verdict = self.authorize(found)
        except Exception:
            _logger.exception("the authorize hook raised, so operation %s is not shown", found.id)
            return False
        return None if verdict is None else verdict is True


def _id_of(who: object) -> str:
    # One that is cut off is somebody else's as well.
    principal = str(who)
    if len(principal) > _LONGEST_PRINCIPAL or not principal.isprintable():
        expected = f"an id of at most {_LONGEST_PRINCIPAL} printable characters, or a digest of it"
        raise InvalidSettingError("The principal", repr(principal), expected)
    return principal


def require_principal(access: Access, state: AppState) -> str | None:
    """Return who starts an operation. Refuses nobody in particular, if the app wants a name."""
    principal = access.principal(state.app)
    if principal is None and not state.settings.anonymous_operations:
        refuse(401, "Log in to start this.", {"WWW-Authenticate": _challenge(state.app)})
    return principal


def _challenge(app: Flask) -> str:
    # HTTP has no scheme for a login by form and cookie, and a 401 has to name one.
    realm = app.name.replace("\\", "").replace('"', "")
    return f'Session realm="{realm}"'
