"""The page about configuration says what the code says."""

from __future__ import annotations

import ast
import re
from dataclasses import fields

import pytest

from flask_later.config import PREFIX, Settings

from .pages import PAGES, read

_ROW = re.compile(r"^\| `(LATER_\w+)` \| (.*?) \| (.+) \|$", re.MULTILINE)
ROWS = {row[1]: row[2] for row in _ROW.finditer(read("docs/configuration.md").text)}
DEFAULTS = {PREFIX + field.name.upper(): field.default for field in fields(Settings)}


def test_every_key_is_described() -> None:
    """In the order of the code, and none that does not exist."""
    assert [*ROWS] == [*DEFAULTS]


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_default_is_the_one_of_the_code(key: str) -> None:
    """Written as Python writes it."""
    assert ast.literal_eval(ROWS[key].strip("`")) == DEFAULTS[key]


@pytest.mark.parametrize("page", PAGES)
def test_no_page_speaks_of_a_key_that_does_not_exist(page: str) -> None:
    """A key that was renamed is renamed everywhere."""
    assert {*re.findall(r"\bLATER_[A-Z_]+\b", read(page).text)} <= {*DEFAULTS}
