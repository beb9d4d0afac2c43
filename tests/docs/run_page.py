"""``python -m tests.docs.run_page README.md``: run the program of a page, in the current folder."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.docs.pages import Block, read


class Program:
    """The module ``app``, which grows with each block."""

    def __init__(self, page: str) -> None:
        self._page = page
        self._module = ModuleType("app")
        # Flask looks here for the folder of the app.
        self._module.__file__ = str(Path("app.py").absolute())
        sys.modules["app"] = self._module
        self._active = ExitStack()
        self._requests: list[tuple[str, str]] = []

    def run(self, block: Block) -> None:
        # So that a traceback names the line of the page.
        text = "\n" * (block.line - 1) + block.text
        exec(compile(text, self._page, "exec"), vars(self._module))  # noqa: S102
        for note in block.notes:
            self._follow(note)

    def end(self) -> None:
        """Send the requests, and wait for what they left."""
        module: Any = self._module
        for method, path in self._requests:
            with module.app.test_client().open(path, method=method.upper()) as answer:
                assert answer.status_code < 400, (method, path, answer)
                answer.get_data()
        self._active.close()
        if hasattr(module, "later"):
            module.later.stop(module.app)

    def _follow(self, note: str) -> None:
        module: Any = self._module
        match note.split():
            case ["start"]:
                module.later.start(module.app)
                self._active.enter_context(module.app.app_context())
            case ["restart"]:
                module.later.stop(module.app)
                module.later.start(module.app)
            case ["get" | "post" as method, path]:
                self._requests.append((method, path))
            case _:
                raise ValueError(f"{self._page}: nobody knows the note {note!r}")


class Complaints(logging.Handler):
    """What is only logged, because it happened where nobody could be told."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def main(name: str) -> None:
    complaints = Complaints()
    logging.getLogger("flask_later").addHandler(complaints)
    program = Program(name)
    for block in read(name).program:
        program.run(block)
    program.end()
    assert not complaints.lines, "\n".join(complaints.lines)


if __name__ == "__main__":
    main(sys.argv[1])
