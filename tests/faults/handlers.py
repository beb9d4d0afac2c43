"""Prints who handles signals, before and after an app has begun to work in this process."""

from __future__ import annotations

import json
import signal
from typing import Any

from app import create_app, later

OURS = ("SIGTERM", "SIGINT", "SIGHUP")
OTHERS = ("SIGQUIT", "SIGABRT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGWINCH", "SIGPIPE")


def handler(name: str) -> str:
    current: Any = signal.getsignal(getattr(signal, name))
    return current.name if isinstance(current, signal.Handlers) else current.__module__


def look() -> dict[str, str]:
    return {name: handler(name) for name in OURS}


def begin() -> dict[str, dict[str, str]]:
    before = look()
    app = create_app()
    later.start(app)
    later.stop(app, 1)
    return {"before": before, "after": look()}


# nohup may have started the tests.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
others = {name: handler(name) for name in OTHERS}
default = begin()
for name in OURS:
    signal.signal(getattr(signal, name), lambda *_: None)
of_the_app = begin()
untouched = [name for name in OTHERS if handler(name) != others[name]]
print(json.dumps({"default": default, "of the app": of_the_app, "untouched": untouched}))
