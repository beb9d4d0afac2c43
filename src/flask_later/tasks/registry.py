"""The tasks that one ``Later`` knows, by name. The only way from stored text to a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from flask_later.errors import NameTakenError
from flask_later.tasks.snapshot import Carriers

if TYPE_CHECKING:
    from flask_later.tasks.task import Definition, Task


class Registry:
    """Tasks by name and alias, and what crosses over to their jobs."""

    def __init__(self) -> None:
        self.carriers = Carriers()
        self._tasks: dict[str, Task[..., Any]] = {}
        self._by_any_name: dict[str, Task[..., Any]] = {}
        #: Also those that were replaced, while somebody still has them.
        self._definitions: WeakSet[Definition] = WeakSet()

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
        self._definitions.add(task.definition)
        self._tasks[task.name] = task
        for name in (task.name, *task.definition.aliases):
            self._by_any_name[name] = task

    def get(self, name: str) -> Task[..., Any] | None:
        """Return the task of this name or alias."""
        return self._by_any_name.get(name)

    def has_met(self, task: Task[..., Any]) -> bool:
        """Whether *task* was registered here, with whatever options it has now."""
        return task.definition in self._definitions

    def names(self) -> Sequence[str]:
        return sorted(self._tasks)

    def tasks(self) -> Sequence[Task[..., Any]]:
        return [self._tasks[name] for name in self.names()]

    def digests(self) -> Mapping[str, str]:
        """Return the signature digest of every name and alias: what this code can run."""
        return {name: task.definition.digest for name, task in self._by_any_name.items()}
