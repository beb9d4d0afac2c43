"""The application is put together wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import LaterError
from .words import closest


class ConfigurationError(LaterError, RuntimeError):
    """The application is put together wrongly; raised when it starts."""


@dataclass(eq=False, repr=False)
class UnknownSettingError(ConfigurationError):
    """The app's config holds a ``LATER_*`` key that does not exist."""

    key: str
    known: Sequence[str]

    def __str__(self) -> str:
        return (
            f"There is no setting {self.key!r}.{closest(self.key, self.known)} "
            f"Remove it from app.config or correct its name."
        )


@dataclass(eq=False, repr=False)
class InvalidSettingError(ConfigurationError):
    """A ``LATER_*`` key, or an option, holds a value that it cannot have."""

    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        value = self.value if len(self.value) <= 200 else f"{self.value[:200]}..."
        return f"{self.key} is {value}, expected {self.expected}."


@dataclass(eq=False, repr=False)
class AlreadyInitializedError(ConfigurationError):
    """``init_app`` met an app that already has a ``Later``."""

    app: str

    def __str__(self) -> str:
        return (
            f"The Flask app {self.app!r} already has a 'Later' instance. "
            f"Call init_app once for each app, and import that instance where you need it."
        )


@dataclass(eq=False, repr=False)
class NotInitializedError(ConfigurationError):
    """The current app is not registered with the ``Later`` that was asked."""

    app: str
    owner: str | None
    asked: str

    def __str__(self) -> str:
        if self.owner is None:
            return (
                f"The current Flask app {self.app!r} is not registered with a 'Later' instance "
                f"({self.asked}). Did you forget later.init_app(app) in create_app()?"
            )
        return (
            f"{self.asked} does not belong to the 'Later' instance of the current Flask app "
            f"{self.app!r}, which was created at {self.owner}. Did you create a second Later(), "
            f"or forget later.register(group)? Import and use the one that init_app was called on."
        )


@dataclass(eq=False, repr=False)
class NotInstalledError(ConfigurationError):
    """A store or engine needs a library that is not installed."""

    wanted: str
    module: str
    extra: str

    def __str__(self) -> str:
        return (
            f"{self.wanted} needs the module {self.module!r}, which is not installed. "
            f'Type: pip install "Flask-Later[{self.extra}]"'
        )


@dataclass(eq=False, repr=False)
class UnsupportedError(ConfigurationError):
    """A task, or a setting, needs what the configured store or engine cannot do."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}. {self.remedy}"


@dataclass(eq=False, repr=False)
class InvalidTaskError(ConfigurationError, TypeError):
    """What was decorated cannot be a task, a service or a callback."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.why}. {self.remedy}"


@dataclass(eq=False, repr=False)
class NameTakenError(ConfigurationError):
    """Two tasks, groups or services want the same name."""

    kind: str
    name: str
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"The {self.kind} name {self.name!r} is taken: first at {self.first}, "
            f"again at {self.second}. Give one of them another name: name='...'."
        )
