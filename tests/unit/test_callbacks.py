"""The places and the threads of callbacks, without any request."""

from __future__ import annotations

import functools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context, has_request_context, request

from flask_later.core.clock import SystemClock, VirtualClock
from flask_later.errors import CallbackQueueFullError
from flask_later.runtime.callbacks import NAMES, REPORT_EVERY, SETTLE, Callbacks, callable_name
from flask_later.signals import callback_failed, callbacks_dropped

Make = Callable[..., Callbacks]

PATIENCE = 10.0
seen: ContextVar[str] = ContextVar("seen", default="nothing")


@pytest.fixture
def app() -> Flask:
    return Flask("shop")


@pytest.fixture
def make(app: Flask) -> Iterator[Make]:
    """Make callbacks whose threads end with the test."""
    made: list[Callbacks] = []

    def make_callbacks(**options: Any) -> Callbacks:
        clock = options.pop("clock", None) or SystemClock()
        callbacks = Callbacks(app, clock, **{"threads": 2, "limit": 10, **options})
        callbacks.start()
        made.append(callbacks)
        return callbacks

    yield make_callbacks
    for callbacks in made:
        finish(callbacks)


def finish(callbacks: Callbacks) -> None:
    """Stop; what was handed over runs."""
    callbacks.stop()
    callbacks.join(time.monotonic() + PATIENCE)


def leave(callbacks: Callbacks, *functions: Callable[[], object]) -> None:
    callbacks.hand_over([callbacks.reserve(function) for function in functions])


def fail() -> None:
    raise LookupError("no such thing")


def do_nothing() -> None:
    pass


def test_what_is_handed_over_runs_on_a_thread_of_ours(make: Make) -> None:
    """A callback runs soon, on another thread, with its arguments."""
    callbacks, ran = make(), threading.Event()
    facts: list[object] = []

    def note(*args: object, **kwargs: object) -> None:
        facts.extend([args, kwargs, threading.current_thread().name])
        ran.set()

    callbacks.hand_over([callbacks.reserve(note, (1,), {"two": 2})])
    assert ran.wait(PATIENCE)
    assert facts[:2] == [(1,), {"two": 2}]
    assert str(facts[2]).startswith("later-callback-")


def test_callbacks_of_one_response_run_in_their_order(make: Make) -> None:
    """One thread runs them, however many there are."""
    callbacks, order = make(threads=4), list[int]()
    leave(callbacks, *(functools.partial(order.append, number) for number in range(10)))
    finish(callbacks)
    assert order == list(range(10))


def test_callbacks_wait_until_the_response_has_settled(make: Make) -> None:
    """Nothing runs before the delay is over."""
    clock, ran = VirtualClock(), threading.Event()
    callbacks = make(clock=clock)
    leave(callbacks, ran.set)
    clock.advance(SETTLE / 2)
    # The clock bounds each wait by 50 ms, so a thread that does not mind the delay has run by then.
    assert not ran.wait(0.2)
    clock.advance(SETTLE)
    assert ran.wait(PATIENCE)


def test_a_stop_does_not_wait_for_the_delay(make: Make) -> None:
    """What is handed over runs at once when the process stops, even on a still clock."""
    callbacks, ran = make(clock=VirtualClock()), list[int]()
    leave(callbacks, lambda: ran.append(1))
    finish(callbacks)
    assert ran == [1]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_one_that_raises_harms_no_other(
    make: Make, app: Flask, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged by name and signalled, and its place comes back."""
    callbacks, ran = make(threads=1), list[int]()
    failures: list[dict[str, Any]] = []

    def explode() -> None:
        raise error("no")

    def note(sender: Flask, **facts: Any) -> None:
        assert sender is app
        failures.append(facts)

    with callback_failed.connected_to(note, app):
        leave(callbacks, explode, lambda: ran.append(1))
        leave(callbacks, lambda: ran.append(2))
        finish(callbacks)
    assert ran == [1, 2]
    assert callbacks.waiting == 0
    assert [type(facts["exception"]) for facts in failures] == [error]
    assert failures[0]["callback"].endswith("explode")
    assert "explode" in caplog.text


def test_a_receiver_that_interrupts_does_not_end_a_thread(make: Make, app: Flask) -> None:
    """Ctrl-C cannot come to a thread, so one that does was raised by a receiver."""
    callbacks, ran = make(threads=1), list[int]()

    def interrupt(sender: Flask, **facts: Any) -> None:
        raise KeyboardInterrupt

    with callback_failed.connected_to(interrupt, app):
        leave(callbacks, fail, lambda: ran.append(1))
        finish(callbacks)
    assert ran == [1]


def test_each_runs_in_an_app_context_of_its_own(make: Make) -> None:
    """``g`` and context variables are fresh, and there is no request."""
    callbacks = make(threads=1)
    facts: list[object] = []

    def note() -> None:
        facts.append((current_app.name, dict(vars(g)), seen.get(), has_request_context()))
        g.left = True
        seen.set("something")

    leave(callbacks, note, note)
    leave(callbacks, note)
    finish(callbacks)
    assert facts == [("shop", {}, "nothing", False)] * 3


def test_the_context_is_torn_down(make: Make, app: Flask) -> None:
    """Scoped sessions go back with the app context, and see what was raised."""
    errors: list[BaseException | None] = []
    app.teardown_appcontext(errors.append)
    callbacks = make(threads=1)
    leave(callbacks, fail, do_nothing)
    finish(callbacks)
    assert [type(error) for error in errors] == [LookupError, type(None)]


def test_one_that_uses_request_is_told_what_to_pass(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Flask's error gets a note that says what to do instead."""
    callbacks = make()
    leave(callbacks, lambda: request.path)
    finish(callbacks)
    assert "read the value in the view and pass it" in caplog.text


def test_a_full_pool_refuses(make: Make) -> None:
    """One more than the limit raises, naming it; each end gives a place back."""
    callbacks = make(limit=2)
    first, second = callbacks.reserve(do_nothing), callbacks.reserve(fail)
    with pytest.raises(CallbackQueueFullError) as caught:
        callbacks.reserve(do_nothing)
    assert (caught.value.callback, caught.value.limit) == (f"{__name__}.do_nothing", 2)
    assert first.cancel()
    callbacks.hand_over([second, callbacks.reserve(do_nothing)])
    finish(callbacks)
    assert callbacks.waiting == 0


def test_what_runs_still_has_its_place(make: Make) -> None:
    """A place comes back after the run, so that slow callbacks are noticed."""
    callbacks = make(limit=1)
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go_on.wait(PATIENCE)

    leave(callbacks, wait)
    assert began.wait(PATIENCE)
    with pytest.raises(CallbackQueueFullError):
        callbacks.reserve(do_nothing)
    go_on.set()
    finish(callbacks)
    assert callbacks.waiting == 0


def test_a_cancelled_one_never_runs(make: Make) -> None:
    """Not even after it was handed over; the place comes back once."""
    callbacks, ran = make(clock=VirtualClock()), list[int]()
    callback = callbacks.reserve(lambda: ran.append(1))
    callbacks.hand_over([callback])
    assert callback.cancel()
    assert not callback.cancel()
    assert callbacks.waiting == 0
    finish(callbacks)
    assert (ran, callbacks.waiting) == ([], 0)


def test_what_a_stopping_process_cannot_run_is_reported(
    make: Make, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, named and signalled, behind a stuck one in the same batch as elsewhere."""
    callbacks = make(threads=1, limit=50)
    began, go_on = threading.Event(), threading.Event()
    drops: list[dict[str, Any]] = []

    def stuck() -> None:
        began.set()
        go_on.wait(PATIENCE)

    def note(sender: Flask, **facts: Any) -> None:
        assert sender is app
        drops.append(facts)

    leave(callbacks, stuck, fail)
    leave(callbacks, *[do_nothing] * 30)
    assert began.wait(PATIENCE)
    with callbacks_dropped.connected_to(note, app):
        callbacks.stop()
        callbacks.join(time.monotonic())
    assert [(drop["count"], drop["reason"]) for drop in drops] == [(31, "stopped")]
    assert len(drops[0]["callbacks"]) == NAMES
    assert "callbacks dropped since the process stops: 31" in caplog.text
    assert f"{__name__}.do_nothing, {__name__}.fail" in caplog.text
    assert "stuck' still runs" in caplog.text
    assert callbacks.waiting == 1
    go_on.set()


def test_what_an_interrupt_keeps_from_running_here_is_reported(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that ends with its response has no thread that could run it later."""
    callbacks, ran = make(), list[int]()

    def interrupt() -> None:
        raise KeyboardInterrupt

    functions = (lambda: ran.append(1), interrupt, do_nothing, fail)
    left = [callbacks.reserve(function) for function in functions]
    with pytest.raises(KeyboardInterrupt):
        callbacks.run_here(left)
    assert ran == [1]
    assert "callbacks dropped since the process stops: 2 (" in caplog.text
    assert callbacks.waiting == 0


def test_what_comes_after_the_end_is_reported(make: Make, app: Flask) -> None:
    """A response that ends when the threads have ended cannot lose its callback in silence."""
    callbacks, drops = make(), list[int]()
    finish(callbacks)

    def note(sender: Flask, **facts: Any) -> None:
        drops.append(facts["count"])

    with callbacks_dropped.connected_to(note, app):
        leave(callbacks, do_nothing)
    assert drops == [1]
    assert callbacks.waiting == 0


def test_what_comes_between_stop_and_end_still_runs(make: Make) -> None:
    """It was promised, and there is time."""
    callbacks, ran = make(threads=1), list[int]()
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go_on.wait(PATIENCE)

    leave(callbacks, wait)
    assert began.wait(PATIENCE)
    callbacks.stop()
    leave(callbacks, lambda: ran.append(1))
    go_on.set()
    callbacks.join(time.monotonic() + PATIENCE)
    assert ran == [1]


def test_a_response_that_has_not_ended_is_waited_for(make: Make) -> None:
    """Its client may have it all while the server has not closed it: its callback has a place."""
    callbacks, ran = make(), list[int]()
    left = callbacks.reserve(lambda: ran.append(1))
    server = threading.Timer(0.1, callbacks.hand_over, [[left]])
    callbacks.stop()
    server.start()
    callbacks.join(time.monotonic() + PATIENCE)
    server.join()
    assert ran == [1]


def test_refusals_are_logged_now_and_then(
    make: Make, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is signalled; the log has one line, and later another with the sum."""
    clock, counts = VirtualClock(), list[int]()
    callbacks = make(clock=clock)

    def note(sender: Flask, **facts: Any) -> None:
        assert facts["reason"] == "full"
        counts.append(facts["count"])

    with caplog.at_level(logging.WARNING), callbacks_dropped.connected_to(note, app):
        for _ in range(4):
            callbacks.refuse(["a", "b"])
        clock.advance(REPORT_EVERY)
        callbacks.refuse(["c"])
    assert counts == [2, 2, 2, 2, 1]
    assert [record.args and record.args for record in caplog.records] == [(2, "a, b"), (7, "c")]


class TestManual:
    """Nothing runs by itself."""

    def test_only_run_pending_runs(self, make: Make) -> None:
        """It runs on the caller's thread, without any delay, and says how many."""
        callbacks = make(manual=True, clock=VirtualClock())
        threads: list[str] = []

        def note() -> None:
            threads.append(threading.current_thread().name)

        leave(callbacks, note, note)
        leave(callbacks, note)
        assert (threads, callbacks.waiting) == ([], 3)
        assert callbacks.run_pending() == 3
        assert threads == [threading.current_thread().name] * 3
        assert callbacks.run_pending() == 0

    def test_what_a_callback_hands_over_runs_too(self, make: Make) -> None:
        """A callback may call the app again."""
        callbacks, ran = make(manual=True), list[int]()
        leave(callbacks, lambda: leave(callbacks, lambda: ran.append(1)))
        assert callbacks.run_pending() == 2
        assert ran == [1]

    def test_it_sees_no_more_than_a_thread_would(self, make: Make, app: Flask) -> None:
        """A test that has a request open does not hide a mistake."""
        callbacks = make(manual=True)
        facts: list[object] = []

        def note() -> None:
            facts.extend([has_app_context(), has_request_context(), "user" in g])

        with app.test_request_context():
            g.user = 1
            leave(callbacks, note)
            callbacks.run_pending()
        assert facts == [True, False, False]

    def test_a_failure_is_isolated_but_for_ctrl_c(self, make: Make) -> None:
        """A test can be interrupted while a callback runs."""
        callbacks = make(manual=True)

        def interrupt() -> None:
            raise KeyboardInterrupt

        leave(callbacks, fail, interrupt)
        with pytest.raises(KeyboardInterrupt):
            callbacks.run_pending()
        assert callbacks.waiting == 0


def test_an_idle_thread_keeps_no_arguments(make: Make) -> None:
    """What a callback was given is free once it has run."""

    class Big:
        pass

    callbacks, ran = make(threads=1), threading.Event()
    big = Big()
    gone = threading.Event()
    weakref.finalize(big, gone.set)
    callbacks.hand_over([callbacks.reserve(lambda big: ran.set(), (big,))])
    del big
    assert ran.wait(PATIENCE)
    assert gone.wait(PATIENCE)


def test_a_coroutine_function_runs_to_its_end(make: Make, app: Flask) -> None:
    """It goes through Flask's ``ensure_sync``, as an async view does."""
    callbacks = make()
    wrapped: list[object] = []

    class AsyncFlask(Flask):
        def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
            wrapped.append(func)
            return func

    app.__class__ = AsyncFlask
    leave(callbacks, do_nothing)
    finish(callbacks)
    assert wrapped == [do_nothing]


def test_names_show_no_values() -> None:
    """A name says what is called, never with what."""

    class Mailer:
        def __init__(self, password: str) -> None:
            self.password = password

        def __call__(self) -> None: ...

        def __repr__(self) -> str:
            return self.password

    assert callable_name(functools.partial(getattr, "secret")) == "builtins.getattr"
    assert callable_name(Mailer("secret")).endswith("Mailer")
    assert callable_name(Mailer("secret").__call__).endswith("Mailer.__call__")
    assert callable_name(print) == "builtins.print"
    assert callable_name([].append) == "list.append"
