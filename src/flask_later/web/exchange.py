"""What standing callbacks are told about a request and its response, and who they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Blueprint, Flask, Request
from werkzeug.datastructures import EnvironHeaders

from flask_later.core.clock import Clock
from flask_later.errors import InvalidTaskError
from flask_later.errors.words import with_article
from flask_later.runtime.callbacks import callable_name

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Headers = tuple[tuple[str, str], ...]

#: Never shown: whoever holds these can act as the user.
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
#: A header longer than this is not an id.
_LONGEST_ID = 200
_YIELDS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its response, for callbacks that stand: facts only, and no bodies.

    Cookies and ``Authorization`` are left out, since what is kept must not let its reader in.
    """

    method: str
    #: Where the app is mounted, and the path within it; both decoded, as in ``flask.request``.
    root_path: str
    path: str
    query_string: str
    #: These three are None where no route matched, or before Flask had looked for one.
    endpoint: str | None
    url_rule: str | None
    blueprint: str | None
    remote_addr: str | None
    #: ``X-Request-ID``, if the client or a proxy sent one.
    request_id: str | None
    request_headers: Headers
    #: None if the app raised, so that the server answered by itself.
    status_code: int | None
    response_headers: Headers
    #: ``Content-Length`` of the response; None if it was streamed.
    content_length: int | None
    started_at: datetime
    #: Seconds from the request's arrival here until the server had the response.
    duration: float
    #: Whether the server took the whole response. It does not know whether the client did.
    completed: bool


class Route(NamedTuple):
    """What matched the request."""

    endpoint: str | None = None
    url_rule: str | None = None
    #: The names of the blueprints, the innermost first.
    blueprints: tuple[str, ...] = ()


NO_ROUTE = Route()


def route_of(request: Request) -> Route:
    rule = request.url_rule
    if rule is None:
        return NO_ROUTE
    return Route(request.endpoint, rule.rule, tuple(request.blueprints))


class Answer(NamedTuple):
    """What the app said through ``start_response``, and how far it went."""

    status_code: int | None
    headers: Iterable[tuple[str, str]]
    content_length: int | None
    completed: bool


def make_exchange(
    environ: WSGIEnvironment, route: Route, answer: Answer, clock: Clock, arrived: float
) -> Exchange:
    """Gather the facts. *arrived* is when, in the clock's monotonic time."""
    duration = clock.monotonic() - arrived
    return Exchange(
        method=environ.get("REQUEST_METHOD", ""),
        root_path=_text(environ, "SCRIPT_NAME").rstrip("/"),
        path="/" + _text(environ, "PATH_INFO").lstrip("/"),
        query_string=_text(environ, "QUERY_STRING"),
        endpoint=route.endpoint,
        url_rule=route.url_rule,
        blueprint=route.blueprints[0] if route.blueprints else None,
        remote_addr=environ.get("REMOTE_ADDR"),
        request_id=_request_id(environ),
        request_headers=_public(EnvironHeaders(environ)),
        status_code=answer.status_code,
        response_headers=_public(answer.headers),
        content_length=answer.content_length,
        started_at=clock.now() - timedelta(seconds=duration),
        duration=duration,
        completed=answer.completed,
    )


def _text(environ: WSGIEnvironment, key: str) -> str:
    # WSGI hands bytes over as if they were Latin-1.
    value: str = environ.get(key, "")
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def _request_id(environ: WSGIEnvironment) -> str | None:
    value: str = environ.get("HTTP_X_REQUEST_ID", "")
    return value if 0 < len(value) <= _LONGEST_ID else None


def _public(headers: Iterable[tuple[str, str]]) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() not in _SECRET)


class StandingCallback(NamedTuple):
    """A function that runs after every response, of the app or of one blueprint."""

    function: Callable[..., object]
    blueprint: Blueprint | str | None
    always: bool
    takes_exchange: bool

    def follows(self, app: Flask, route: Route) -> bool:
        """Say whether it runs after a response of *route*."""
        if self.blueprint is None or isinstance(self.blueprint, str):
            return self.blueprint is None or self.blueprint in route.blueprints
        # A blueprint can be registered twice, under other names than its own.
        return any(app.blueprints.get(name) is self.blueprint for name in route.blueprints)


class StandingCallbacks:
    """The standing callbacks of one ``Later``, in the order they were added."""

    def __init__(self) -> None:
        # Replaced and never changed, so that requests read it without a lock.
        self._entries: tuple[StandingCallback, ...] = ()

    def add(
        self,
        function: Callable[..., object],
        blueprint: Blueprint | str | None = None,
        always: bool = False,
    ) -> None:
        """Run *function* after every response, of one *blueprint* or of the whole app.

        One that can take an argument gets the :class:`Exchange`. Responses that failed are left
        out, unless *always*. A blueprint given as a text is the name it is registered under.

        :raises InvalidTaskError: if it cannot be called with nothing or with the exchange.
        """
        _require_blueprint(blueprint)
        entry = StandingCallback(function, blueprint, always, takes_exchange(function))
        self._entries = (*self._entries, entry)

    def unknown_blueprints(self, app: Flask) -> list[str]:
        """Return the blueprints that *app* does not have, whose callbacks will not run there."""
        asked = [entry.blueprint for entry in self._entries if entry.blueprint is not None]
        known = app.blueprints
        return [
            each if isinstance(each, str) else each.name
            for each in asked
            if (each not in known if isinstance(each, str) else each not in known.values())
        ]

    def __bool__(self) -> bool:
        return bool(self._entries)

    def following(self, app: Flask, route: Route) -> Iterator[StandingCallback]:
        return (entry for entry in self._entries if entry.follows(app, route))


def takes_exchange(function: Callable[..., object]) -> bool:
    """Say whether *function* takes an argument.

    :raises InvalidTaskError: if it takes more than one, or is no function.
    """
    require_callable(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise _unfit(function, "does not say which arguments it takes") from None
    if _fits(signature, None):
        return True
    if _fits(signature):
        return False
    raise _unfit(function, f"has the signature {signature}")


def _require_blueprint(blueprint: object) -> None:
    if blueprint is not None and not isinstance(blueprint, Blueprint | str):
        raise InvalidTaskError(
            with_article(type(blueprint).__qualname__, "A"),
            "is no blueprint",
            "Give the blueprint itself, or the name it is registered under.",
        )


def require_callable(function: object) -> None:
    """Refuse what cannot be called, mostly the result of a call, and what would then do nothing."""
    if not callable(function):
        raise InvalidTaskError(
            with_article(type(function).__qualname__, "A"),
            "cannot be a callback, because it cannot be called",
            "Pass the function and its arguments: later.after_this_response(audit, user.id), "
            "not later.after_this_response(audit(user.id)).",
        )
    # Not inspect.isgeneratorfunction: that costs a microsecond, and this is asked in the view.
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _YIELDS:
        raise InvalidTaskError(
            f"The generator {callable_name(function)!r}",
            "cannot be a callback, because calling it would run nothing",
            "Remove the 'yield', or give a function that uses it up.",
        )


def _fits(signature: inspect.Signature, *args: Any) -> bool:
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True


def _unfit(function: Callable[..., object], why: str) -> InvalidTaskError:
    return InvalidTaskError(
        f"{callable_name(function)!r}",
        f"cannot follow every response, because it {why}",
        "Let it take nothing, or one argument: the exchange.",
    )
