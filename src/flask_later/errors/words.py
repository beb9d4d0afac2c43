"""Words that several errors use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches


def closest(name: str, known: Sequence[str]) -> str:
    """Return a sentence naming what *name* was probably meant to be, or nothing."""
    matches = get_close_matches(name, known, n=3)
    return f" Closest: {', '.join(map(repr, matches))}." if matches else ""


def named(error: BaseException) -> str:
    """Return the kind of *error*, and what it says, if anything."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def about_address(address: str) -> str:
    """Return what *address* is, for an error: its kind alone, as the rest may hold a password."""
    kind = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    return f"of the kind {kind[1]!r}" if kind else "no address"


def with_article(noun: str, article: str = "a") -> str:
    """Return *noun* after its article: "a str", "an int", and "a User"."""
    return f"{article}{'n' if noun[:1].lower() in 'aeio' else ''} {noun}"
