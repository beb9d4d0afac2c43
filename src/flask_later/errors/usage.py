"""The call is right, but not here or not now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import LaterError
from .words import closest


class UsageError(LaterError, RuntimeError):
    """The call is right, but not here or not now."""


@dataclass(eq=False, repr=False)
class OutsideAppContextError(UsageError):
    """Something that belongs to an app was used while no app was active."""

    what: str
    example: str

    def __str__(self) -> str:
        return (
            f"Working outside of application context: {self.what} where no Flask app is active. "
            f"Use it in a view or a 'flask' command, or write: "
            f"with app.app_context(): {self.example} "
            f"(In a script at import time? Move the call into a function.)"
        )


@dataclass(eq=False, repr=False)
class OutsideRequestError(UsageError):
    """``after_this_response`` was called where there is no response to come."""

    app: str | None

    def __str__(self) -> str:
        if self.app is None:
            return (
                "Working outside of request context: after_this_response() needs a request whose "
                "response is still to come. In a script, a command, a job or a callback, call the "
                "function."
            )
        return (
            f"This request did not come in through app.wsgi_app of {self.app!r}, so nothing would "
            f"run the callback. In a test, use app.test_client() in place of "
            f"app.test_request_context()."
        )


@dataclass(eq=False, repr=False)
class NotServingError(UsageError):
    """Something was asked of a process that has not begun to work for the app."""

    app: str
    consequence: str
    remedy: str = ""

    def __str__(self) -> str:
        text = (
            f"This process does not serve the app {self.app!r}, so {self.consequence}. "
            f"Begin to work here with later.start(app)"
        )
        return f"{text}, or {self.remedy}." if self.remedy else f"{text}."


@dataclass(eq=False, repr=False)
class ManualModeError(UsageError):
    """Waiting was asked for while nothing runs by itself."""

    what: str

    def __str__(self) -> str:
        return (
            f"{self.what} would wait for ever: LATER_MANUAL is on (it follows app.testing), so "
            f"nothing runs by itself. Call flask_later.testing.run_all(app) first, or set "
            f"LATER_MANUAL = False for a live server."
        )


@dataclass(eq=False, repr=False)
class NotManualError(UsageError):
    """The test kit was asked to run what runs by itself."""

    what: str
    app: str

    def __str__(self) -> str:
        return (
            f"{self.what} was called for the app {self.app!r}, where LATER_MANUAL is off: threads "
            f"run its work, by the real clock. Set app.testing = True or LATER_MANUAL = True "
            f"before its first use, or wait for a job with job.wait(timeout=5)."
        )


@dataclass(eq=False, repr=False)
class EndlessWorkError(UsageError):
    """The test kit ran so much that the work probably makes more work for ever."""

    limit: int
    last: str

    def __str__(self) -> str:
        return (
            f"More than {self.limit} jobs and callbacks have run, the last of them {self.last}. "
            f"Does it enqueue itself, or raise TryAgain() without a delay? If it really is that "
            f"much, say so: limit={10 * self.limit}."
        )


@dataclass(eq=False, repr=False)
class WaitInsideJobError(UsageError):
    """A job waited for another job of its own worker, which can deadlock."""

    waiting: str
    job_id: str

    def __str__(self) -> str:
        return (
            f"Task {self.waiting!r} waits for job {self.job_id} on the threads that should run it: "
            f"with every thread waiting, nothing would run. Enqueue the rest of the work as a job "
            f"of its own, or call the task's function directly."
        )


class ReentryError(UsageError):
    """A signal handler, or ``__del__``, used the store that it has interrupted."""

    def __str__(self) -> str:
        return (
            "A signal handler, or __del__, has interrupted this thread in the middle of the store, "
            "and uses it; nothing was stored. Set a threading.Event there, and enqueue where "
            "somebody waits for it."
        )


@dataclass(eq=False, repr=False)
class UnknownServiceError(UsageError, LookupError):
    """The app has no such service."""

    name: str
    known: Sequence[str]

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return (
            f"There is no service {self.name!r}.{closest(self.name, self.known)} "
            f"Known services: {known}. Is its module imported by create_app()?"
        )
