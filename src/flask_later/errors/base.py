"""The root of the tree."""

from __future__ import annotations

from typing import Any, ClassVar


class LaterError(Exception):
    """Base of all errors of this package.

    Those that have facts are dataclasses, and keep them when they are pickled.
    """

    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        facts = tuple(getattr(self, name) for name in self.__match_args__)
        return type(self), facts or self.args, self.__dict__
