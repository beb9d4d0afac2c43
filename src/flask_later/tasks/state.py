"""What one app owns, and how to find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from flask import Flask, Request, current_app, has_app_context, request

from flask_later.config import Settings
from flask_later.core.clock import Clock
from flask_later.core.engine import Engine
from flask_later.core.store import Store
from flask_later.errors import NotInitializedError, OutsideAppContextError

from .opening import Opening

if TYPE_CHECKING:
    from flask_later.tasks.registry import Registry

KEY = "later"

T = TypeVar("T")


class _once(Generic[T]):  # noqa: N801 (it is used as a decorator)
    """A property that is made at its first use, unless that raises.

    ``functools.cached_property`` has a lock (before Python 3.12), which a fork leaves locked.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__

    def __get__(self, owner: Any, _: type[Any]) -> T:
        made = owner.__dict__[self._name] = self._make(owner)
        return made


class Parts(NamedTuple):
    """What the settings decide. They freeze when this is made: at the first use, not before.

    Here the store is not yet open; ``AppState.store`` is.
    """

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

    @_once
    def parts(self) -> Parts:
        return self.assemble()

    @_once
    def settings(self) -> Settings:
        return self.parts.settings

    @_once
    def clock(self) -> Clock:
        return self.parts.clock

    @_once
    def opening(self) -> Opening:
        return Opening(self.parts.store)

    @_once
    def store(self) -> Store:
        """:raises StoreError: if it cannot be opened; the next use tries again."""
        return self.opening.open()

    @_once
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
    try:
        app = get_app()
    except RuntimeError:
        return None
    return app.extensions.get(KEY)


def get_state(asked: str, example: str) -> AppState:
    """Return the state of the current app. *asked* and *example* go into the error's text.

    :raises OutsideAppContextError: if no app is active.
    :raises NotInitializedError: if it has no ``Later``.
    """
    state = find_state()
    if state is not None:
        return state
    if not has_app_context():
        raise OutsideAppContextError(asked, example)
    raise NotInitializedError(current_app.name, None, asked)
