"""What a page of :meth:`~flask_later.core.store.Store.find` ends with: the number of a row."""

from __future__ import annotations

#: The most digits that it has.
_DIGITS = 18


def is_cursor(text: str) -> bool:
    """Whether *text* looks like a cursor of a store of ours."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS
