"""The supervisor, with children that know nothing of apps: they speak through the tether only."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from flask_later.runtime import supervisor
from flask_later.runtime.supervisor import Supervisor
from flask_later.runtime.threads import start_thread

pytestmark = pytest.mark.skipif(os.name != "posix", reason="children have no news there")

#: No test waits so long, unless it fails.
PATIENCE = 30.0

# A child: notes what happens to it, and says and does what the test wants.
CHILD = """
import os, sys, time
from pathlib import Path
log, news, plan = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def note(word):
    with log.open("a") as file:
        file.write(f"{word} {os.getpid()}\\n")

note("began")
if plan == "dies":
    os.kill(os.getpid(), 9)
os.write(news, b"w")
if plan == "spent" and log.read_text().count("began") <= 2:
    os.write(news, b"s")
while True:
    order = os.read(0, 1)
    note(order.decode() or "alone")
    if order == b"r":
        time.sleep(0.3)
        note("left")
        sys.exit(75)
    if order == b"s" and plan != "stubborn":
        sys.exit(0)
    if not order:
        sys.exit(0)
"""


class Scene:
    """A supervisor at work in this process, and what its children noted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        self.path.touch()

    def command(self, plan: str) -> Callable[[int | None], Sequence[str]]:
        return lambda news: [sys.executable, "-c", CHILD, str(self.path), str(news), plan]

    def words(self) -> list[str]:
        return [line.split()[0] for line in self.path.read_text().splitlines()]

    def pids(self, word: str) -> list[int]:
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return [int(line[1]) for line in lines if line[0] == word]

    def run(
        self,
        plan: str,
        count: int,
        *steps: Callable[[], bool],
        timeout: float = PATIENCE,
        number: signal.Signals = signal.SIGTERM,
    ) -> int:
        """Supervise; a signal comes whenever the next of *steps* is done. Return the exit code."""
        late: list[int] = []

        def drive() -> None:
            for step, done in enumerate(steps):
                deadline = time.monotonic() + PATIENCE
                while not done() and time.monotonic() < deadline:
                    time.sleep(0.01)
                if not done():
                    late.append(step)
                os.kill(os.getpid(), number)

        driver = start_thread("driver", drive)
        code = Supervisor(self.command(plan), count, timeout).run()
        driver.join(PATIENCE)
        assert late == [], (late, self.path.read_text())
        return code


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    before = {number: signal.getsignal(number) for number in supervisor.SIGNALS}
    threads = threading.active_count()
    yield Scene(tmp_path)
    assert {number: signal.getsignal(number) for number in supervisor.SIGNALS} == before
    deadline = time.monotonic() + PATIENCE
    while threading.active_count() > threads:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


def test_a_signal_stops_all(scene: Scene) -> None:
    """Each child is told once, and has ended."""
    assert scene.run("works", 3, lambda: scene.words().count("began") == 3) == 0
    assert sorted(scene.words()) == ["began"] * 3 + ["s"] * 3
    assert sorted(scene.pids("s")) == sorted(scene.pids("began"))


def test_a_child_that_dies_is_replaced(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """After a pause that grows while they die young; every death is told."""
    scene.run("dies", 1, lambda: scene.words().count("began") == 3)
    told = [message for message in caplog.messages if "ended with SIGKILL" in message]
    assert len(told) >= 2
    pauses = [float(message.rsplit(" in ", 1)[1].removesuffix(" s")) for message in told]
    assert 0.8 <= pauses[0] <= 1.2
    assert 1.6 <= pauses[1] <= 2.4


@pytest.mark.parametrize(
    ("early_deaths", "least", "most"),
    [(0, 0, 0), (1, 0.8, 1.2), (4, 6.4, 9.6), (7, 48, 72), (10_000, 48, 72)],
)
def test_the_pause_has_bounds(early_deaths: int, least: float, most: float) -> None:
    """From one second to a minute, never twice the same."""
    pauses = [supervisor._pause_after(early_deaths) for _ in range(50)]
    assert least <= min(pauses) <= max(pauses) <= most
    assert early_deaths == 0 or len({*pauses}) > 1


def test_children_are_replaced_in_turn(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The second is asked to leave once the replacement of the first works."""
    caplog.set_level("INFO")
    assert scene.run("spent", 2, lambda: scene.words().count("began") == 4) == 0
    words = [word for word in scene.words() if word in ("r", "left")]
    assert words == ["r", "left", "r", "left"]
    third = scene.path.read_text().index(f"began {scene.pids('began')[2]}")
    assert scene.path.read_text().index(f"r {scene.pids('r')[1]}") > third
    assert [m for m in caplog.messages if "is replaced after exit code 75" in m] != []


def test_a_child_that_does_not_end_is_killed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once the time is over; the exit code tells."""
    monkeypatch.setattr(supervisor, "_MARGIN", 0.2)
    code = scene.run("stubborn", 1, lambda: "began" in scene.words(), timeout=0.1)
    assert code == 1
    assert "worker process 1 did not end and is killed" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_is_in_a_hurry(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """All are told, the exit code names the signal, and nobody is waited for for long."""
    monkeypatch.setattr(supervisor, "_HURRY", 0.2)
    steps = (lambda: "began" in scene.words(), lambda: "s" in scene.words())
    assert scene.run("stubborn", 1, *steps, number=number) == 128 + number
    assert scene.words()[:2] == ["began", "s"]
