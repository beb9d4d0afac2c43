"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

#: From how many on a bar shows how far a command has come.
_LONG = 100


def json_option(command: Any) -> Any:
    """Give *command* the option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def say(text: str) -> None:
    """Print a line of the answer.

    :raises click.ClickException: if it cannot be written, on a full disk for example. A reader who
        has left (``| head``) is no error to speak of: click ends the command without a word.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        _give_up_stdout()
        raise click.ClickException(f"The output cannot be written: {error.strerror}.") from error


def _give_up_stdout() -> None:
    """Write what is left in its buffer nowhere, or the interpreter complains again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def echo_json(answer: object) -> None:
    say(json.dumps(answer, indent=2))


def echo_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns, each as wide as it needs to be. Nothing at all without rows."""
    lines = [[str(cell) for cell in row] for row in rows]
    if not lines:
        return
    lines.insert(0, [*header])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())


def warn(text: str) -> None:
    """Print a line that a program which reads the output does not get."""
    click.echo(f"Warning: {text}", err=True)


def instant(at: datetime | None) -> str | None:
    """Return *at* as text, to the second."""
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """Return a duration for people to read."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def ask(question: str) -> None:
    """Go on if somebody says yes.

    :raises click.Abort: if somebody says no.
    :raises click.UsageError: if nobody is there to say anything, in cron for example.
    """
    if sys.stdin is None:
        raise _nobody_answers()
    try:
        sure = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)  # the question stands there without one
        raise _nobody_answers() from None
    if not sure:
        raise click.Abort


def _nobody_answers() -> click.UsageError:
    return click.UsageError("Nobody is there to answer. Without a terminal, say so before: --yes")


def progress_bar(length: int, label: str) -> Any:
    """Return a bar on stderr, as click makes it; one that nobody sees if there is no need."""
    seen = length >= _LONG and sys.stderr.isatty()
    return click.progressbar(length=length, label=label, file=sys.stderr if seen else io.StringIO())
