"""Errors and signals are written down where a reader looks for them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from flask_later import errors, signals
from flask_later.core.job import Cancel, Command, Discard, JobState, Resume, Retry
from flask_later.core.states import commanded
from flask_later.testing.records import START, make_record

from .pages import PAGES, read


def drawn(text: str) -> dict[str, str]:
    """Each class of the tree with the one that it hangs on."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in text.splitlines():
        if found := re.match(r"^    ([│├└─ ]*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            del path[depth:]
            if path:
                parents[found[2]] = path[-1]
            path.append(found[2])
    return parents


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    """Each class of the module once, on its own branch."""
    classes = [
        each for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.LaterError) and each is not errors.LaterError
    ]  # fmt: skip
    assert drawn(errors.__doc__ or "") == {
        each.__name__: each.__bases__[0].__name__ for each in classes
    }


def test_every_signal_is_described() -> None:
    """In the table of the page about tasks, in the order of the module."""
    rows = re.findall(r"^\| `([a-z_]+)` \|.*\| `", read("docs/tasks.md").text, re.MULTILINE)
    sent = [name for name, _ in _signals()]
    assert [row for row in rows if row in sent] == sent


def _signals() -> Iterator[tuple[str, object]]:
    for name, value in vars(signals).items():
        if isinstance(value, type(signals.job_enqueued)):
            yield name, value


def test_every_error_that_a_page_names_exists() -> None:
    """Pages name errors in backquotes."""
    python = {"OSError", "ConnectionError", "ValueError"}
    for page in PAGES:
        named = {*re.findall(r"`(\w+Error)`", read(page).text)}
        assert {name for name in named - python if not hasattr(errors, name)} == set(), page


def test_the_table_of_commands_is_what_the_rules_do() -> None:
    """The page about states, cell by cell."""
    page = read("docs/design/states.md").text
    header = re.search(r"^\| \| (held .*) \|$", page, re.MULTILINE)
    assert header is not None
    states = header[1].split(" | ")
    assert sorted(states) == sorted(JobState)
    for command in (Cancel(), Retry(), Resume(), Discard()):
        word = type(command).__name__.lower()
        row = re.search(rf"^\| `{word}` \| (.*) \|$", page, re.MULTILINE)
        assert row is not None
        assert row[1].split(" | ") == [_comes_to(command, JobState(state)) for state in states]


def _comes_to(command: Command, state: JobState) -> str:
    try:
        after = commanded(make_record(state=state), command, START)
    except errors.InvalidTransitionError:
        return "refused"
    if isinstance(command, Discard):
        return "gone"
    return "asked to stop" if after.stop is not None else after.state.value
