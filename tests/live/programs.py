"""Programs that tests start in processes of their own, and of which nothing is left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .events import PATIENCE, EventLog

HERE = Path(__file__).parent


@dataclass(kw_only=True)
class Program:
    """A process, the leader of its group, that runs while the context lasts.

    ``folder`` holds all that it writes. A second program on the same folder shares what is there.
    """

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Where it is started: modules are found there.
    home: Path = HERE
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def command(self) -> Sequence[str]:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def events(self) -> EventLog:
        return EventLog(self.folder / "events.jsonl")

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        let_interrupts_through()
        with self.log_path.open("ab") as log:
            log.write(f"$ {' '.join(self.command)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                self.command,
                cwd=self.home,
                env=environment(self.folder, self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def stop(
        self, number: signal.Signals = signal.SIGTERM, *, group: bool = False, timeout: float = 60.0
    ) -> int:
        """Send the signal, as a terminal does it (to the *group*) or not; wait for the end."""
        self.signal(number, group=group)
        return self.wait(timeout)

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.pid, number)

    def open_gate(self, key: str) -> None:
        """Let those go on that wait for *key*."""
        gates = self.folder / "gates"
        gates.mkdir(exist_ok=True)
        (gates / key).touch()

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for the end of the process."""
        assert self.process is not None
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {timeout:g} s\n{self.log}"
            ) from None

    def kill(self) -> None:
        """End what is left of it, in every process."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


def environment(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """What the app under test is started with.

    *settings* in lower case are ``LATER_*`` keys; in upper case they are variables as they stand.
    """
    foreign = ("FLASK_", "WERKZEUG_", "GUNICORN_", "GRANIAN_", "UWSGI_", "LIVE_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    own = {
        "LIVE_EVENTS": str(folder / "events.jsonl"),
        "LIVE_GATES": str(folder / "gates"),
        "LIVE_INSTANCE": str(folder / "instance"),
        "PYTHONUNBUFFERED": "1",
    }
    given = {
        key if key.isupper() else f"FLASK_LATER_{key.upper()}": str(value)
        for key, value in settings.items()
    }
    return kept | own | given


def let_interrupts_through() -> None:
    """A shell starts its background jobs with SIGINT ignored, and all their children inherit it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
