"""Texts as the databases can keep and compare them.

PostgreSQL takes no NUL, neither takes lone surrogates (they come with file names, say), and MariaDB
compares as if texts were filled up with spaces. Such characters are stored as U+001A and their code
in hex digits, so that different texts stay different.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Dialect, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

_MARK = "\x1a"
_AWKWARD = re.compile(f"[\0{_MARK}\ud800-\udfff]| \\Z")
_MARKED = re.compile(f"{_MARK}([0-9a-f]{{4}})")


def escaped(text: str) -> str:
    """Return *text* as it is stored."""
    return _AWKWARD.sub(lambda found: f"{_MARK}{ord(found[0]):04x}", text)


def unescaped(text: str) -> str:
    """Return the text that is stored as *text*."""
    return _MARKED.sub(lambda found: chr(int(found[1], 16)), text) if _MARK in text else text


class Escaped(TypeDecorator[str]):
    """A text that is stored as :func:`escaped` returns it."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else escaped(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        return None if value is None else unescaped(value)


class Name(Escaped):
    """A text that is looked for: so short, in characters, that an index takes it."""

    impl = String
    cache_ok = True


class Body(Escaped):
    """A text of any length."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # MySQL's TEXT ends at 64 KiB.
        return dialect.type_descriptor(mysql.LONGTEXT() if dialect.name == "mysql" else Text())
