"""Async routes: a view whose body runs in a job, and the 202 that its client gets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from flask import Flask, Response

from flask_later.errors import InvalidSettingError
from flask_later.tasks.group import TaskCollection
from flask_later.tasks.job import Job
from flask_later.tasks.options import GivenOptions, TaskOptions, require_names
from flask_later.tasks.state import get_state
from flask_later.tasks.task import Task, require_function

from .openapi import ASYNC_ROUTE
from .operations.methods import is_view_method, with_object, without_object
from .operations.operation import Operation
from .operations.owner import Access, Identity
from .operations.routes import Routes
from .operations.start import Call, Start
from .operations.views import run_in_job, view_name
from .operations.waiting import Waiting

if TYPE_CHECKING:
    from .openapi.document import OpenAPI

P = ParamSpec("P")
T = TypeVar("T")


class AsyncRoutes(TaskCollection):
    """What ``Later`` has for async routes.

    :param guess: finds out how an app knows who asks that has not said so.
    """

    def __init__(self, guess: Callable[[Flask], Identity]) -> None:
        super().__init__(None, TaskOptions())
        waiting = Waiting()
        self._access = Access(guess)
        self._start = Start(self._access, waiting)
        #: The routes under which clients follow operations, for ``csrf.exempt`` and the like.
        self.operations = Routes(self._access, waiting).blueprint()

    @cached_property
    def openapi(self) -> OpenAPI:
        """What an OpenAPI document says of :attr:`operations`, and of async routes."""
        # Most apps have no document, and do without what makes one.
        from .openapi.document import OpenAPI

        return OpenAPI()

    @overload
    def respond_async(self, view: Callable[P, Any], /) -> Callable[P, Response]: ...
    @overload
    def respond_async(
        self,
        /,
        *,
        accepts: Collection[str] | None = None,
        title: object = None,
        **options: Unpack[GivenOptions],
    ) -> Callable[[Callable[P, Any]], Callable[P, Response]]: ...
    def respond_async(
        self,
        view: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        aliases: Sequence[str] = (),
        accepts: Collection[str] | None = None,
        title: object = None,
        **options: Any,
    ) -> Any:
        """Run the body of a view in a job, and answer its request with 202 and where to ask.

        Write it below the route, and below what checks who asks: that runs in the request. In the
        job the view sees an equal request, without cookies and ``Authorization``. What it returns
        or raises is the result, as the same client would have got it.

        :param accepts: the media types of the bodies that the view takes, such as
            ``["application/json"]``; others are answered 415.

        :param title: what people read above the progress; its name if left out. It may be a lazy
            translation.

        The other options are those of :meth:`task`.

        :raises: as :meth:`task`.
        """
        old_names = require_names(name, aliases)
        if isinstance(accepts, str):
            raise InvalidSettingError("accepts", repr(accepts), "a list of media types")

        def decorate(view: Callable[..., Any]) -> Callable[..., Response]:
            of_class = is_view_method(view)
            body = with_object(view) if of_class else view
            function = run_in_job(require_function(body, may_yield=True), self._access)
            task = self._define(function, name or view_name(view), old_names, options)
            start = self._starting(view, task, accepts, title)
            return without_object(start) if of_class else start

        return decorate if view is None else decorate(view)

    def accepted(
        self, job: Job[Any], *, result_url: str | None = None, title: object = None
    ) -> Response:
        """Return the 202 for a job that this request has enqueued: its client may follow it.

        :param result_url: where the client finds the result, if not under the operation.
        :param title: what people read above the progress; the task's name if left out.
        :raises OutsideAppContextError: where no app is active.
        """
        state = get_state("later.accepted() was called", "...")
        return self._start.job(state, job, result_url, title)

    def principal(
        self,
        identify: Callable[[], T],
        /,
        *,
        restore: Callable[[str], object] | None = None,
    ) -> Callable[[], T]:
        """Say who asks: *identify* returns an id, or None for nobody in particular.

        What a principal starts is for that principal alone. Without this, an app with Flask-Login
        is asked for its ``current_user``.

        :param restore: gets that id in the job of an async route, before the view.
        """
        self._access.identity = Identity(identify, restore)
        return identify

    def authorize(
        self, decide: Callable[[Operation], bool | None], /
    ) -> Callable[[Operation], bool | None]:
        """Decide who may see an operation, cancel it and delete it.

        *decide* is called in such a request and returns True or False; or None, to leave it to the
        rule that what a principal started is for that principal alone.
        """
        self._access.authorize = decide
        return decide

    def _starting(
        self,
        view: Callable[..., Any],
        task: Task[..., Any],
        accepts: Collection[str] | None,
        title: object,
    ) -> Callable[..., Response]:
        @wraps(view)
        def start(*args: Any, **kwargs: Any) -> Response:
            return self._start.view(Call(task, [*args], kwargs, accepts, title))

        setattr(start, ASYNC_ROUTE, True)
        return start
