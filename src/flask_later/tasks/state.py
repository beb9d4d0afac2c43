"""What one app owns, and how to find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask, Request, current_app, has_app_context, request

from flask_later.config import Settings
from flask_later.core.clock import Clock
from flask_later.core.engine import Engine
from flask_later.core.store import Store
from flask_later.errors import NotInitializedError, OutsideAppContextError

if TYPE_CHECKING:
    from flask_later.tasks.registry import Registry

KEY = "later"


class Parts(NamedTuple):
    """What the settings decide. They freeze when this is made: at the first use, not before."""

    settings: Settings
    clock: Clock
    store: Store
    engine: Engine
    #: Nothing runs by itself; the test kit runs it.
    manual: bool


@dataclass(frozen=True)
class AppState:
    """What one app owns; it is ``app.extensions["later"]``.

    ``owner`` says where the app's ``Later`` was made. ``assemble`` makes the parts, always the
    same ones. ``ensure_started`` begins to work if this process serves, and says whether it does.
    """

    app: Flask
    owner: str
    registry: Registry
    assemble: Callable[[], Parts]
    ensure_started: Callable[[], bool]

    @cached_property
    def parts(self) -> Parts:
        return self.assemble()

    @cached_property
    def settings(self) -> Settings:
        return self.parts.settings

    @cached_property
    def clock(self) -> Clock:
        return self.parts.clock

    @cached_property
    def store(self) -> Store:
        return self.parts.store

    @cached_property
    def engine(self) -> Engine:
        return self.parts.engine


_app: Any = current_app
_request: Any = request


def get_app() -> Flask:
    """Return the current app itself, where the proxy would not do, or take too long."""
    app: Flask = _app._get_current_object()
    return app


def get_request() -> Request:
    """Return the current request itself: a look through the proxy takes half a microsecond."""
    current: Request = _request._get_current_object()
    return current


def find_state() -> AppState | None:
    """Return the state of the current app; None if no app is active, or it has no ``Later``."""
    return get_app().extensions.get(KEY) if has_app_context() else None


def get_state(asked: str, example: str) -> AppState:
    """Return the state of the current app. *asked* and *example* go into the error's text.

    :raises OutsideAppContextError: if no app is active.
    :raises NotInitializedError: if it has no ``Later``.
    """
    if not has_app_context():
        raise OutsideAppContextError(asked, example)
    state = find_state()
    if state is None:
        raise NotInitializedError(current_app.name, None, asked)
    return state
