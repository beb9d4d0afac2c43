"""The catalogue of faults is complete, and the tests that pages of the design name exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .pages import ROOT, read

#: The groups of the catalogue that concern what there is so far: the numbers of each.
GROUPS = {
    "A": range(1, 24),
    "B": range(24, 36),
    "C": range(36, 51),
    "D": range(51, 77),
    "F": range(88, 96),
    "G": range(96, 114),
    "H": range(114, 129),
    "I": range(129, 136),
    "J": range(136, 150),
}
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(group: str) -> Iterator[tuple[int, str]]:
    """The number of each fault of *group*, and what is said about it."""
    sections = re.split(r"^## (\w)\. .*$", read("docs/design/faults.md").text, flags=re.MULTILINE)
    text = dict(zip(sections[1::2], sections[2::2], strict=True))[group]
    for number, said in re.findall(r"^\| (\d+) \| .*? \| (.*) \|$", text, re.MULTILINE):
        yield int(number), said


@pytest.mark.parametrize("group", GROUPS)
def test_every_fault_has_a_row(group: str) -> None:
    """Once, in the order of the catalogue, and it says something."""
    assert [number for number, _ in rows(group)] == [*GROUPS[group]]
    assert [number for number, said in rows(group) if said.strip() in ("", "to come")] == []


@pytest.mark.parametrize("name", ["docs/design/faults.md", "docs/design/engines.md"])
def test_the_tests_that_a_page_names_exist(name: str) -> None:
    """Under the names that it gives."""
    named = {*NAMED.findall(read(name).text)}
    assert named
    missing = [f"{path}::{test}" for path, test in sorted(named) if not is_there(path, test)]
    assert missing == []


def is_there(path: str, test: str) -> bool:
    file = ROOT / path
    return file.exists() and re.search(rf"\bdef {test}\(", file.read_text()) is not None
