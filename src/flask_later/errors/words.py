"""Words that several errors use."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def closest(name: str, known: Sequence[str]) -> str:
    """Return a sentence naming what *name* was probably meant to be, or nothing."""
    matches = get_close_matches(name, known, n=3)
    return f" Closest: {', '.join(map(repr, matches))}." if matches else ""


def with_article(noun: str, article: str = "a") -> str:
    """Return *noun* after its article: "a str", "an int", and "a User"."""
    return f"{article}{'n' if noun[:1].lower() in 'aeio' else ''} {noun}"
