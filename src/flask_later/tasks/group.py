"""Where tasks are registered: an app's own ``Later``, or a group that a library brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from flask_later.core.retry import Retry
from flask_later.tasks.options import (
    GivenOptions,
    TaskOptions,
    require_name,
    require_names,
    require_options,
)
from flask_later.tasks.registry import Registry
from flask_later.tasks.task import Definition, Task, require_function, task_name

P = ParamSpec("P")
R = TypeVar("R")


class TaskCollection:
    """What ``Later`` and :class:`TaskGroup` share: the decorator."""

    def __init__(self, group: str | None, defaults: TaskOptions) -> None:
        self._group = group
        self._defaults = defaults
        self._tasks: list[Task[..., Any]] = []
        self._registries: list[Registry] = []

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, /, **options: Unpack[GivenOptions]
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        aliases: Sequence[str] = (),
        **options: Any,
    ) -> Any:
        """Make a function a task; with or without parentheses.

        :param name: what it is called in the store; ``module.function`` if left out. Jobs that
            are stored under a name the code no longer knows are parked.
        :param aliases: names that it had before, so that jobs stored under them still run.
        :param queue: where its jobs wait.
        :param priority: -100 to 100, higher first; a point is worth a minute of waiting.
        :param retry: whether and when a failed attempt is tried again; by default it is not.
        :param timeout: seconds for an attempt. Cooperative: no thread can be stopped from outside.
            At the deadline ``current_job.cancelled`` turns true, ``track`` raises, the attempt
            counts as failed and cannot write any more, and another thread takes its place.
        :param expires: seconds that a job may wait for a worker from when it may run; one that has
            not begun by then is cancelled.
        :param durable: refuse to start on a store that does not survive its process.
        :raises NameTakenError: if another task has the name.
        :raises InvalidTaskError: for what is no function, has no name, or is no option.
        :raises InvalidSettingError: for a value that an option cannot have.
        """
        old_names = require_names(name, aliases)

        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            return self._define(require_function(function), name, old_names, options)

        return decorate if function is None else decorate(function)

    def _define(
        self,
        function: Callable[..., Any],
        name: str | None,
        aliases: tuple[str, ...],
        options: dict[str, Any],
    ) -> Task[..., Any]:
        require_options(options)
        given = {key: value for key, value in options.items() if value is not None}
        definition = Definition(function, name or task_name(function, self._group), aliases)
        task: Task[..., Any] = Task(definition, self._defaults.changed(**given))
        for registry in self._registries:
            registry.add(task)
        self._tasks.append(task)
        return task

    def _attach(self, registry: Registry) -> None:
        for task in self._tasks:
            registry.add(task)
        self._registries.append(registry)


class TaskGroup(TaskCollection):
    """Tasks of a library or a blueprint, which an app takes up with ``later.register(group)``.

    :param name: goes before the name of every task, so that they do not collide.
    :param queue: where its jobs wait, unless a task says otherwise; likewise the others.
    """

    def __init__(
        self,
        name: str,
        *,
        queue: str = "default",
        priority: int = 0,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        expires: float | timedelta | None = None,
    ) -> None:
        require_name(name)
        given = {"retry": retry} if retry is not None else {}
        defaults = TaskOptions().changed(
            queue=queue, priority=priority, timeout=timeout, expires=expires, **given
        )
        super().__init__(name, defaults)
        self.name = name

    def attach(self, registry: Registry) -> None:
        """Make the tasks known to *registry*, those to come as well."""
        self._attach(registry)
