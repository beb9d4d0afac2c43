"""``Later``: the one place that puts the parts together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, overload

from flask import Blueprint, Flask, has_app_context

from flask_later.assembly import Assembly
from flask_later.cli.group import later_group
from flask_later.config import Settings, queue_name
from flask_later.core.job import Hint, Resume
from flask_later.core.store import Pause
from flask_later.errors import (
    AlreadyInitializedError,
    InvalidTaskError,
    NotInitializedError,
    NotServingError,
)
from flask_later.errors.words import closest, with_article
from flask_later.logs import Log
from flask_later.runtime import job_log, termination
from flask_later.runtime.lifecycle import LIFECYCLE_KEY, Lifecycle
from flask_later.runtime.log_records import install_record_factory
from flask_later.runtime.process import Process, make_process
from flask_later.runtime.service_definitions import ServiceDefinitions
from flask_later.runtime.services import Services
from flask_later.runtime.worker_options import WorkerOptions
from flask_later.tasks import enqueue
from flask_later.tasks.group import TaskGroup
from flask_later.tasks.job import Job, read
from flask_later.tasks.options import require_name
from flask_later.tasks.place import place_of_caller
from flask_later.tasks.registry import Registry
from flask_later.tasks.snapshot import Carrier
from flask_later.tasks.state import KEY, AppState, get_app, get_state
from flask_later.tasks.task import Call
from flask_later.web.after_response import AfterResponse, after_this_response
from flask_later.web.aftermath import CallbackHandle
from flask_later.web.exchange import StandingCallbacks
from flask_later.web.operations.owner import NOBODY, Identity
from flask_later.web.respond_async import AsyncRoutes

P = ParamSpec("P")
T = TypeVar("T")

_logger = Log(__name__)


class Later(AsyncRoutes):
    """Background work for Flask apps.

    Make one at module level, hang tasks, callbacks and services on it, and call :meth:`init_app`
    for each app. Given an *app*, it does that at once.
    """

    def __init__(self, app: Flask | None = None) -> None:
        super().__init__(_guess_identity)
        self._place = place_of_caller()
        self._registry = Registry()
        self._attach(self._registry)
        self._services = ServiceDefinitions()
        self._standing = StandingCallbacks()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up *app*. Nothing starts, and ``LATER_*`` may still change until the first use.

        :raises InvalidTaskError: if it is no Flask app.
        :raises AlreadyInitializedError: if the app has a ``Later``.
        :raises UnknownSettingError: for a ``LATER_*`` key that does not exist.
        :raises InvalidSettingError: for a value that it cannot have.
        """
        _require_app(app)
        if KEY in app.extensions:
            raise AlreadyInitializedError(app.name)
        settings = Settings.from_config(app.config)
        lifecycle = Lifecycle(lambda: state, lambda options: self._make_process(state, options))
        assembly = Assembly(app, self._registry, lifecycle.run)
        state = AppState(app, self._place, self._registry, assembly, lifecycle.ensure_started)
        app.extensions[KEY] = state
        app.extensions[LIFECYCLE_KEY] = lifecycle
        app.wsgi_app = AfterResponse(  # type: ignore[method-assign]
            app, lifecycle.callbacks, self._standing
        )
        if settings.operations is not None:
            app.register_blueprint(self.operations, url_prefix=settings.operations)
        app.cli.add_command(later_group)
        app.shell_context_processor(lambda: {"later": self})
        install_record_factory()
        job_log.listen()
        termination.install(settings.shutdown_timeout)

    # Tasks and jobs

    def register(self, group: TaskGroup) -> TaskGroup:
        """Take up the tasks of *group*, those that it gets later as well.

        :raises NameTakenError: if one of them has the name of another task.
        :raises InvalidTaskError: if it is no group.
        """
        _require_group(group)
        group.attach(self._registry)
        return group

    def enqueue_many(self, calls: Iterable[Call[T]], *, within: object = None) -> list[Job[T]]:
        """Store a job for each of *calls* in one commit: all of them, or none.

        :param within: a SQLAlchemy session or connection, where ``LATER_STORE`` is its database:
            the jobs are stored in its transaction, and exist once that is committed.
        :raises UnsupportedError: if the jobs are kept somewhere else than that.
        :raises: as :meth:`flask_later.Task.enqueue`.
        """
        listed = _listed(calls)
        return enqueue.many(listed) if within is None else enqueue.many_within(listed, within)

    def job(self, job_id: str) -> Job[object]:
        """Return the job with this id.

        :raises JobNotFoundError: if there is none. It never stands for "not yet".
        """
        state = self._state("later.job()")
        return Job(read(state, job_id), state)

    def pause(self, queue: str) -> None:
        """Hand out no more jobs of *queue*, in all processes; enqueueing goes on."""
        self._state("later.pause()").store.queue(queue_name(queue), Pause())

    def resume(self, queue: str) -> None:
        """Hand out the jobs of *queue* again."""
        state = self._state("later.resume()")
        state.store.queue(queue_name(queue), Resume())
        state.engine.deliver([Hint.at(state.store.identity, queue)])

    def carry(
        self, name: str, *, capture: Callable[[], Any], restore: Callable[[Any], None]
    ) -> None:
        """Have something of the app's own cross over from an enqueue to its job.

        *capture* is called at each enqueue, in or outside of a request, and returns what the JSON
        round trip takes, or None for nothing. *restore* gets it in the job's app context, before
        the task. What *capture* raises, the enqueue raises; what *restore* raises fails the
        attempt.

        :raises InvalidTaskError: for what cannot be called.
        :raises InvalidSettingError: for a name that nothing can have.
        :raises NameTakenError: if something else is carried under the name.
        """
        require_name(name)
        for part, function in (("capture", capture), ("restore", restore)):
            if not callable(function):
                raise InvalidTaskError(
                    f"The {part} of later.carry({name!r})",
                    "cannot be called",
                    f"Give a function: {part}=...",
                )
        self._registry.carriers.add(Carrier(name, capture, restore))

    # After the response

    def after_this_response(
        self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> CallbackHandle:
        """Call *function* once the server has the whole response of this request.

        It is skipped if the response failed (a status of 500 or more, an exception, a client that
        left), unless ``.always()`` says otherwise. It runs on a thread of ours in an app context
        of its own, at most once, and is lost if the process dies before.

        :raises OutsideRequestError: where no response is to come.
        :raises CallbackQueueFullError: if ``LATER_MAX_CALLBACKS`` wait already.
        """
        app = get_app() if has_app_context() else None
        return after_this_response(app, function, *args, **kwargs)

    @overload
    def after_response(self, function: Callable[P, T], /) -> Callable[P, T]: ...
    @overload
    def after_response(
        self, /, *, blueprint: Blueprint | str | None = None, always: bool = False
    ) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
    def after_response(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        blueprint: Blueprint | str | None = None,
        always: bool = False,
    ) -> Any:
        """Call a function after every response of the app, or of one *blueprint*.

        It takes nothing, or one argument: an :class:`~flask_later.Exchange`, the frozen summary
        of the request and its response. Otherwise it is as :meth:`after_this_response`, except
        that one without a place is dropped, counted and logged, since nobody could catch it.

        :raises InvalidTaskError: if it takes more.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            self._standing.add(function, blueprint=blueprint, always=always)
            return function

        return decorate if function is None else decorate(function)

    # Services

    @overload
    def service(self, target: T, /) -> T: ...
    @overload
    def service(
        self, /, *, name: str | None = None, every: float | timedelta = 0.0
    ) -> Callable[[T], T]: ...
    def service(
        self,
        target: Any = None,
        /,
        *,
        name: str | None = None,
        every: float | timedelta = 0.0,
    ) -> Any:
        """Run a :class:`Service` class, or a function in a loop, in every process that serves.

        :param name: if left out, the name of the class or function.
        :param every: seconds between two calls of ``handle``.
        :raises NameTakenError: if another service has the name.
        :raises InvalidTaskError: for what cannot be a service.
        """

        def decorate(target: Any) -> Any:
            return self._services.register(target, name=name, every=every)

        return decorate if target is None else decorate(target)

    @property
    def services(self) -> Services:
        """The services of the current app in this process.

        :raises OutsideAppContextError: where no app is active.
        :raises NotServingError: in a process that serves no requests, such as a command.
        """
        lifecycle = self._lifecycle("later.services")
        process = lifecycle.current()
        if process is None:
            raise NotServingError(get_app().name, "it runs no services")
        return process.services

    # The process

    def start(self, app: Flask) -> None:
        """Begin to work now, without waiting for a request: this process serves *app*.

        For scripts, and for a server's own hook (``post_worker_init``, ``postfork``).

        :raises NotInitializedError: if the app has no ``Later``.
        """
        with app.app_context():
            self._lifecycle("later.start()").start()

    def stop(self, app: Flask, timeout: float | None = None) -> None:
        """Stop what :meth:`start`, or a request, began; a process does it by itself at its end.

        :param timeout: seconds to wait for what runs; ``LATER_SHUTDOWN_TIMEOUT`` if left out.
        :raises NotInitializedError: if the app has no ``Later``.
        """
        with app.app_context():
            state = self._state("later.stop()")
            seconds = state.settings.shutdown_timeout if timeout is None else timeout
            self._lifecycle("later.stop()").stop(seconds)

    # The current app

    def _make_process(self, state: AppState, options: WorkerOptions | None) -> Process:
        for name in self._standing.unknown_blueprints(state.app):
            _logger.warning(
                "app %r has no blueprint %r, so its @later.after_response(blueprint=...) never "
                "runs there.%s",
                state.app.name,
                name,
                closest(name, [*state.app.blueprints]),
            )
        return make_process(state, self._services, options)

    def _state(self, asked: str) -> AppState:
        state = get_state(f"{asked} was called", "...")
        if state.registry is not self._registry:
            raise NotInitializedError(state.app.name, state.owner, asked)
        return state

    def _lifecycle(self, asked: str) -> Lifecycle:
        lifecycle: Lifecycle = self._state(asked).app.extensions[LIFECYCLE_KEY]
        return lifecycle


def _listed(calls: Any) -> list[Call[Any]]:
    """Return what was given to ``enqueue_many``, if it is calls."""
    listed: list[Any] = [*calls] if isinstance(calls, Iterable) else [calls]
    strangers = [each for each in listed if not isinstance(each, Call)]
    if strangers or not isinstance(calls, Iterable):
        raise InvalidTaskError(
            with_article(type((strangers or [calls])[0]).__qualname__, "A"),
            "is not what later.enqueue_many() takes",
            "Write: later.enqueue_many([task.call(1), task.call(2)]).",
        )
    return listed


def _require_app(app: object) -> None:
    if not isinstance(app, Flask):
        raise InvalidTaskError(
            with_article(type(app).__qualname__, "A"),
            "is no Flask app",
            "Write: later.init_app(app).",
        )


def _require_group(group: object) -> None:
    if not isinstance(group, TaskGroup):
        raise InvalidTaskError(
            with_article(type(group).__qualname__, "A"),
            "is no TaskGroup",
            "Write: later.register(group).",
        )


def _guess_identity(app: Flask) -> Identity:
    """Return how an app knows who asks that has not said so."""
    if "login_manager" not in vars(app):
        return NOBODY
    login = import_module("flask_later.integrations.login")
    return Identity(login.identify, login.restore)
