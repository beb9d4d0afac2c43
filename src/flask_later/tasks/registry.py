"""The tasks that one ``Later`` knows, by name. The only way from stored text to a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flask_later.errors import NameTakenError
from flask_later.tasks.snapshot import Carriers

if TYPE_CHECKING:
    from flask_later.tasks.task import Task


class Registry:
    """Tasks by name and alias, and what crosses over to their jobs."""

    def __init__(self) -> None:
        self.carriers = Carriers()
        self._tasks: dict[str, Task[..., Any]] = {}
        self._by_any_name: dict[str, Task[..., Any]] = {}

    def add(self, task: Task[..., Any]) -> None:
        """Make *task* known.

        A task from the same place in the source replaces the one before: a factory that ran
        twice, or a module that was loaded again.

        :raises NameTakenError: if another task has its name or one of its aliases.
        """
        for name in (task.name, *task.definition.aliases):
            known = self._by_any_name.get(name)
            if known is not None and known.definition.place != task.definition.place:
                raise NameTakenError("task", name, known.definition.place, task.definition.place)
        self._tasks[task.name] = task
        for name in (task.name, *task.definition.aliases):
            self._by_any_name[name] = task

    def get(self, name: str) -> Task[..., Any] | None:
        """Return the task of this name or alias."""
        return self._by_any_name.get(name)

    def names(self) -> Sequence[str]:
        return sorted(self._tasks)

    def tasks(self) -> Sequence[Task[..., Any]]:
        return [self._tasks[name] for name in self.names()]

    def digests(self) -> Mapping[str, str]:
        """Return the signature digest of every name and alias: what this code can run."""
        return {name: task.definition.digest for name, task in self._by_any_name.items()}
