"""Signals: how a process that would just be killed gets to drain.

A handler that somebody has set is never replaced. Ours are set only where the default was, and
only to reach the way out that the server has anyway.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType

from flask_later.runtime.lifecycle import has_work, hear_interrupt

#: What kills a process without any exit hook where nobody has set it. A terminal that closes sends
#: the second, which Windows does not have.
_DEADLY = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
#: Seconds that a child needs for its end besides its shutdown timeout.
_MARGIN = 1.0


class _Reloader:
    """What a debug reloader's parent knows of its child."""

    #: Seconds that the child may take to end.
    patience = _MARGIN
    is_waiting = False


def install(shutdown_timeout: float) -> None:
    """Set the handlers. Does nothing outside of the main thread, or where others have set one.

    :param shutdown_timeout: what an app of this process may take to stop, in seconds.
    """
    _Reloader.patience = max(_Reloader.patience, shutdown_timeout + _MARGIN)
    if threading.current_thread() is not threading.main_thread():
        return
    with contextlib.suppress(ValueError, OSError):
        interrupt = signal.getsignal(signal.SIGINT)
        if interrupt is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupted)
        for number in _DEADLY if callable(interrupt) else ():
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _terminated)


def _terminated(number: int, frame: FrameType | None) -> None:
    """End through SIGINT if there is something to drain, and as if we were not here if not.

    Under Werkzeug's server, Waitress, cheroot and gevent.pywsgi nobody has set these signals. They
    all end well on SIGINT.
    """
    if has_work():
        signal.raise_signal(signal.SIGINT)
        return
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Do what Python does, but let a debug reloader wait for the child that it would kill.

    Ctrl-C reaches both. The parent sits in ``subprocess.call``, which gives the child 0.25 s and
    then kills it, whatever it was doing. A second Ctrl-C ends the wait, and that for the jobs.
    """
    if _Reloader.is_waiting:
        raise KeyboardInterrupt
    if _is_reloader_parent(frame):
        _wait_for_child()
    if hear_interrupt():
        signal.default_int_handler(number, frame)


def _is_reloader_parent(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "restart_with_reloader":
            return str(frame.f_globals.get("__name__")) == "werkzeug._reloader"
        frame = frame.f_back
    return False


def _wait_for_child() -> None:
    deadline = time.monotonic() + _Reloader.patience
    _Reloader.is_waiting = True
    try:
        while time.monotonic() < deadline and not _child_has_ended():
            time.sleep(0.02)
    finally:
        _Reloader.is_waiting = False


def _child_has_ended() -> bool:
    """Look without reaping: ``subprocess`` has to find the child's exit status itself."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except (ChildProcessError, AttributeError):
        # No child, or a system without waitid: there is nothing to wait for.
        return True
