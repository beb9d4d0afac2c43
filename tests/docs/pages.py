"""The pages as programs: what stands in their fenced blocks, and how it is run.

A comment behind a block, which no reader of the page sees, says what is special about it::

    <!-- test: start -->     start the app, and be in its context from here on
    <!-- test: restart -->   the same once more, for services that were defined since
    <!-- test: get /path --> send a request once the program is complete; or post
    <!-- test: skip, ... --> do not run the block, for this reason
    <!-- test: pytest -->    the block is a file of tests; in front of all blocks: the page is one
    <!-- test: gunicorn.conf.py -->   the block is that file
    <!-- test: recipe -->    the block is an app of its own, which tests/openapi runs
    <!-- test: moves rq -->  the block is an app of its own, which tests/live runs; or celery
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")))

_TOKEN = re.compile(
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$|^<!-- test: (?P<note>.*?) -->$",
    re.MULTILINE | re.DOTALL,
)
#: Of blocks that are no part of their page's program.
_APART = frozenset({"pytest", "gunicorn.conf.py", "recipe", "moves celery", "moves rq"})
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@dataclass
class Block:
    """A fenced block; ``line`` is that of its first line."""

    language: str
    text: str
    line: int
    notes: list[str] = field(default_factory=list)

    @property
    def is_program(self) -> bool:
        """Whether it is a part of the page's program."""
        is_apart = not _APART.isdisjoint(self.notes)
        return self.language == "python" and not is_apart and not self._is_skipped

    @property
    def _is_skipped(self) -> bool:
        return any(note.startswith("skip, ") for note in self.notes)


@dataclass
class Page:
    name: str
    text: str
    #: Those in front of all blocks.
    notes: list[str]
    blocks: list[Block]

    @property
    def program(self) -> list[Block]:
        return [block for block in self.blocks if block.is_program]

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.text)

    def block_noted(self, note: str) -> Block:
        """The only block that is noted so."""
        [block] = [block for block in self.blocks if note in block.notes]
        return block

    def commands(self) -> Iterator[tuple[str, str]]:
        """Each line that is typed into a shell, with what it prints."""
        for block in self.blocks:
            if block.language == "console":
                for typed in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                    command, _, printed = typed.partition("\n")
                    yield command, printed


def read(name: str) -> Page:
    text = (ROOT / name).read_text(encoding="utf-8")
    page = Page(name, text, [], [])
    for token in _TOKEN.finditer(text):
        if token["note"] is None:
            line = text.count("\n", 0, token.start("text")) + 1
            page.blocks.append(Block(token["language"], token["text"], line))
        else:
            (page.blocks[-1].notes if page.blocks else page.notes).append(token["note"])
    return page
