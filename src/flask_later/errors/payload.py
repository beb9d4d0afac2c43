"""Stored text is not what it should be."""

from __future__ import annotations

from dataclasses import dataclass

from .base import LaterError


@dataclass(eq=False, repr=False)
class MalformedPayloadError(LaterError, ValueError):
    """Stored text is not what this version of the package writes."""

    reason: str

    def __str__(self) -> str:
        return f"The stored payload cannot be read: {self.reason}."


@dataclass(eq=False, repr=False)
class UnknownClassError(MalformedPayloadError):
    """A stored enum member or dataclass that this code does not have, or has otherwise."""
