"""Callbacks after the response, through the middleware, with threads of their own."""

from __future__ import annotations

import dataclasses
import functools
import gc
import io
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, g, request, send_file, stream_with_context
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import EnvironBuilder
from werkzeug.wsgi import FileWrapper

from flask_later.core.clock import SystemClock
from flask_later.errors import CallbackQueueFullError, InvalidTaskError, OutsideRequestError
from flask_later.runtime.callbacks import Callbacks
from flask_later.signals import callbacks_dropped
from flask_later.web.after_response import AfterResponse, after_this_response
from flask_later.web.aftermath import CallbackHandle
from flask_later.web.exchange import Exchange, StandingCallbacks

PATIENCE = 10.0

View = Callable[[], Any]
WSGIApp = Callable[..., Iterable[bytes]]


class Site:
    """An app with our middleware, and with threads that really run the callbacks."""

    def __init__(self, name: str = "shop", **options: Any) -> None:
        self.app = Flask(name)
        # One thread: the callbacks of two responses are in no order with more.
        options = {"threads": 1, "limit": 100, **options}
        self.callbacks = Callbacks(self.app, SystemClock(), **options)
        self.standing = StandingCallbacks()
        #: What the callbacks noted.
        self.ran: list[object] = []
        self.asked = 0

    def start(self) -> None:
        self.app.wsgi_app = AfterResponse(self.app, self._started, self.standing)  # type: ignore[method-assign]
        self.callbacks.start()

    def _started(self, environ: object) -> Callbacks:
        self.asked += 1
        return self.callbacks

    def finish(self) -> list[object]:
        """Stop; what was handed over has run then."""
        self.callbacks.stop()
        self.callbacks.join(time.monotonic() + PATIENCE)
        return self.ran

    def leave(self, what: object) -> CallbackHandle:
        return after_this_response(self.app, self.ran.append, what)

    def route(self, view: View) -> View:
        """Let *view* answer at ``/``."""
        self.app.add_url_rule("/", "index", view)
        return view


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    sites: list[Site] = []

    def make(*args: Any, **options: Any) -> Site:
        site = Site(*args, **options)
        site.start()
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.finish()
        assert site.callbacks.waiting == 0, "a place was lost"


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


class Server:
    """Does what a WSGI server does, a step at a time."""

    def __init__(self, app: WSGIApp, path: str = "/", **options: Any) -> None:
        overrides = options.pop("environ", {})
        self.environ = EnvironBuilder(path, **options).get_environ() | overrides
        self.statuses: list[str] = []
        self.headers: list[tuple[str, str]] = []
        self.written: list[bytes] = []
        self.body: Iterable[bytes] = app(self.environ, self._start_response)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        self.statuses.append(status)
        self.headers = headers
        return self.written.append

    def read(self) -> bytes:
        return b"".join(self.body)

    def close(self) -> None:
        close = getattr(self.body, "close", None)
        if close is not None:
            close()

    def serve(self) -> bytes:
        try:
            return self.read()
        finally:
            self.close()

    def drop(self) -> None:
        """Forget the response without closing it, as asgiref does."""
        self.body = ()


class GoneError(Exception):
    """What a view or a stream raises."""


class TestKindsOfResponses:
    """A callback runs after every kind of response that was handed over as a whole."""

    def test_plain(self, site: Site) -> None:
        """The body is what it was, and the callback runs with its arguments, once."""

        @site.route
        def view() -> str:
            site.leave("first")
            return "hello"

        assert Server(site.app).serve() == b"hello"
        assert site.finish() == ["first"]

    def test_order(self, site: Site) -> None:
        """Callbacks run in the order in which they were left."""

        @site.route
        def view() -> str:
            for number in range(10):
                site.leave(number)
            return ""

        Server(site.app).serve()
        assert site.finish() == list(range(10))

    def test_not_before_close(self, site: Site) -> None:
        """As long as the server has the response, nothing runs."""

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        server = Server(site.app)
        assert server.read() == b"hello"
        site.callbacks.stop()
        site.callbacks.join(time.monotonic() + 0.1)
        assert site.ran == []
        with callbacks_dropped.connected_to(lambda *_, **facts: site.ran.append(facts), site.app):
            server.close()
        assert [facts["count"] for facts in site.ran] == [1]  # type: ignore[index]

    def test_streamed(self, site: Site) -> None:
        """A generator may leave callbacks as long as it runs, even if the view left none."""

        @site.route
        def view() -> Response:
            def generate() -> Iterator[str]:
                yield "one "
                site.leave("from the stream")
                yield "two"

            return Response(stream_with_context(generate()))

        assert Server(site.app).serve() == b"one two"
        assert site.finish() == ["from the stream"]

    def test_call_on_close(self, site: Site) -> None:
        """What the response itself does at its end may leave callbacks, if it was watched."""

        @site.route
        def view() -> Response:
            response = Response("hello")
            response.call_on_close(end)
            site.leave("left")
            return response

        def end() -> None:
            with site.app.request_context(server.environ):
                site.leave("at the end")

        server = Server(site.app)
        server.serve()
        assert site.finish() == ["left", "at the end"]

    def test_head(self, site: Site) -> None:
        """HEAD has no body, which some servers do not even ask for."""

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        server = Server(site.app, method="HEAD")
        server.close()
        assert dict(server.headers)["Content-Length"] == "5"
        assert site.finish() == ["left"]

    @pytest.mark.parametrize("status", [204, 304])
    def test_no_content(self, site: Site, status: int) -> None:
        """Nothing is owed, so nothing has to be taken."""

        @site.route
        def view() -> tuple[str, int]:
            site.leave("left")
            return "", status

        Server(site.app).close()
        assert site.finish() == ["left"]

    def test_empty(self, site: Site) -> None:
        """An announced length of zero is taken without asking, too."""

        @site.route
        def view() -> str:
            site.leave("left")
            return ""

        Server(site.app).close()
        assert site.finish() == ["left"]

    @pytest.mark.parametrize("wrapper", [None, FileWrapper])
    def test_send_file(self, site: Site, wrapper: type | None) -> None:
        """Files run callbacks after them too, through the server's file wrapper or Werkzeug's."""
        content = b"x" * 20_000

        @site.route
        def view() -> Response:
            site.leave("left")
            return send_file(io.BytesIO(content), "text/plain")

        environ = {} if wrapper is None else {"wsgi.file_wrapper": wrapper}
        assert Server(site.app, environ=environ).serve() == content
        assert site.finish() == ["left"]

    @pytest.mark.parametrize("status", [302, 404, 418, 499])
    def test_errors_of_the_client(self, site: Site, status: int) -> None:
        """The app answered as it wanted to: that is no failure."""

        @site.route
        def view() -> tuple[str, int]:
            site.leave("left")
            return "no", status

        Server(site.app).serve()
        assert site.finish() == ["left"]

    def test_abort(self, site: Site) -> None:
        """What Flask makes of an exception counts by its status."""

        @site.route
        def view() -> str:
            site.leave("left")
            abort(404)

        Server(site.app).serve()
        assert site.finish() == ["left"]

    def test_written(self, site: Site) -> None:
        """``write()`` of the server passes through."""

        def inner(environ: Any, start_response: Any) -> list[bytes]:
            with site.app.request_context(environ):
                site.leave("left")
            start_response("200 OK", [])(b"written")
            return []

        site.app.wsgi_app = inner  # type: ignore[method-assign]
        site.start()
        server = Server(site.app)
        assert (server.serve(), server.written) == (b"", [b"written"])
        assert site.finish() == ["left"]

    def test_an_app_that_starts_late(self, site: Site) -> None:
        """Middleware inside may be a generator, which calls the app at the first item."""
        flask_app = site.app.wsgi_app

        def generate(environ: Any, start_response: Any) -> Iterator[bytes]:
            yield from flask_app(environ, start_response)

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        site.standing.add(lambda: site.ran.append("standing"))
        site.app.wsgi_app = AfterResponseOf(generate, site)  # type: ignore[method-assign]
        assert Server(site.app).serve() == b"hello"
        assert site.finish() == ["left", "standing"]


def AfterResponseOf(inner: WSGIApp, site: Site) -> AfterResponse:  # noqa: N802
    """Put the middleware around *inner* in place of the app's own."""
    site.app.wsgi_app = inner  # type: ignore[method-assign]
    return AfterResponse(site.app, lambda environ: site.callbacks, site.standing)


class TestFailures:
    """Callbacks are skipped where the response failed, and ``always()`` ones are not."""

    def leave_both(self, site: Site) -> None:
        site.leave("skipped")
        site.leave("always").always()

    @pytest.mark.parametrize("status", [500, 503, 599])
    def test_status(self, site: Site, status: int) -> None:
        """A status of 500 or higher is a failure."""

        @site.route
        def view() -> tuple[str, int]:
            self.leave_both(site)
            return "no", status

        Server(site.app).serve()
        assert site.finish() == ["always"]

    def test_view_raises(self, site: Site) -> None:
        """Flask answers 500."""

        @site.route
        def view() -> str:
            self.leave_both(site)
            raise GoneError

        server = Server(site.app)
        server.serve()
        assert server.statuses == ["500 INTERNAL SERVER ERROR"]
        assert site.finish() == ["always"]

    def test_view_raises_through(self, site: Site) -> None:
        """With PROPAGATE_EXCEPTIONS there is no response; the server sees the exception."""
        site.app.config["PROPAGATE_EXCEPTIONS"] = True

        @site.route
        def view() -> str:
            self.leave_both(site)
            raise GoneError

        with pytest.raises(GoneError):
            Server(site.app)
        assert site.finish() == ["always"]

    @pytest.mark.parametrize("announced", [False, True])
    def test_stream_raises(self, site: Site, announced: bool) -> None:
        """Whatever has been sent by then, even all that was announced."""

        @site.route
        def view() -> Response:
            def generate() -> Iterator[str]:
                yield "half"
                raise GoneError

            self.leave_both(site)
            headers = {"Content-Length": "4"} if announced else {}
            return Response(generate(), headers=headers)

        with pytest.raises(GoneError):
            Server(site.app).serve()
        assert site.finish() == ["always"]

    def test_closed_early(self, site: Site) -> None:
        """The server gives up: its client has gone."""
        ends: list[str] = []

        @site.route
        def view() -> Response:
            def generate() -> Iterator[str]:
                try:
                    yield "one"
                    yield "two"
                finally:
                    ends.append("generator closed")

            self.leave_both(site)
            return Response(generate())

        server = Server(site.app)
        assert next(iter(server.body)) == b"one"
        server.close()
        assert site.finish() == ["always"]
        assert ends == ["generator closed"]

    def test_start_response_again(self, site: Site) -> None:
        """An app may take its status back as long as nothing was sent; the last one counts."""

        def inner(environ: Any, start_response: Any) -> Iterator[bytes]:
            with site.app.request_context(environ):
                self.leave_both(site)
            start_response("200 OK", [])
            start_response("500 NO", [], (GoneError, GoneError(), None))
            yield b"no"

        site.app.wsgi_app = AfterResponseOf(inner, site)  # type: ignore[method-assign]
        server = Server(site.app)
        assert server.serve() == b"no"
        assert server.statuses == ["200 OK", "500 NO"]
        assert site.finish() == ["always"]

    def test_close_raises(self, site: Site) -> None:
        """The server hears of it; the response was handed over all the same."""

        @site.route
        def view() -> Response:
            response = Response("hello")
            response.call_on_close(fail)
            self.leave_both(site)
            return response

        with pytest.raises(GoneError):
            Server(site.app).serve()
        assert site.finish() == ["skipped", "always"]


def fail() -> None:
    raise GoneError


class TestExactlyOnce:
    """``close()``, ``__del__``, or both."""

    def test_closed_twice(self, site: Site) -> None:
        """Nothing runs again, and the inner iterable is closed once."""

        @site.route
        def view() -> Response:
            response = Response("hello")
            response.call_on_close(lambda: site.ran.append("closed"))
            site.leave("left")
            return response

        server = Server(site.app)
        server.serve()
        server.close()
        server.drop()
        assert site.finish() == ["closed", "left"]

    def test_never_closed(self, site: Site) -> None:
        """A server that drops the response has callbacks run too, without the collector."""

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        gc.disable()
        try:
            server = Server(site.app)
            assert server.read() == b"hello"
            server.drop()
            assert site.finish() == ["left"]
        finally:
            gc.enable()

    def test_never_closed_and_half_read(self, site: Site) -> None:
        """That is a client that went away, unless all that was announced has been taken."""

        @site.app.get("/<int:announced>")
        def view(announced: int) -> Response:
            site.leave(announced)
            headers = {"Content-Length": "3"} if announced else {}
            return Response(iter(["one", ""]), headers=headers)

        for path in ("/0", "/1"):
            server = Server(site.app, path)
            assert next(iter(server.body)) == b"one"
            server.drop()
        assert site.finish() == [1]

    def test_request_leaves_no_cycle(self, site: Site) -> None:
        """A server keeps start_response beside the environ; nothing waits for the collector."""

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        class Canary:
            alive = True

            def __del__(self) -> None:
                Canary.alive = False

        site.standing.add(lambda exchange: None)
        gc.collect()
        gc.disable()
        try:
            server = Server(site.app, environ={"test.canary": Canary()})
            server.environ["test.server"] = server  # as servers do, through their start_response
            server.serve()
            server.environ.pop("test.server")
            del server
            assert not Canary.alive
        finally:
            gc.enable()


class TestHandles:
    """What a view holds after it has left a callback."""

    def test_cancel(self, site: Site) -> None:
        """It does not run, and its place is free at once."""

        @site.route
        def view() -> str:
            handle = site.leave("cancelled")
            assert site.callbacks.waiting == 1
            assert handle.always().cancel() is handle
            assert site.callbacks.waiting == 0
            return ""

        Server(site.app).serve()
        assert site.finish() == []

    def test_cancel_after_the_response(self, site: Site) -> None:
        """It is too late once the callback has run, and does no harm."""
        handles: list[CallbackHandle] = []

        @site.route
        def view() -> str:
            handles.append(site.leave("left"))
            return ""

        Server(site.app).serve()
        assert site.finish() == ["left"]
        handles[0].cancel().always()
        assert site.callbacks.waiting == 0

    def test_full(self, make_site: MakeSite) -> None:
        """The view hears of it, and the places come back when the response has failed."""
        site = make_site(limit=2)

        @site.route
        def view() -> str:
            site.leave(1)
            site.leave(2)
            with pytest.raises(CallbackQueueFullError, match="LATER_MAX_CALLBACKS"):
                site.leave(3)
            assert site.callbacks.waiting == 2
            abort(503)

        Server(site.app).serve()
        assert site.callbacks.waiting == 0

    def test_isolation(self, site: Site) -> None:
        """One that raises, whatever it raises, does not harm the next."""

        @site.route
        def view() -> str:
            after_this_response(site.app, exit_now)
            site.leave("left")
            return ""

        Server(site.app).serve()
        assert site.finish() == ["left"]

    def test_context(self, site: Site) -> None:
        """Each has a fresh app context and no request."""
        facts: list[object] = []

        def note() -> None:
            facts.append((dict(vars(g)), bool(request)))
            g.user = 2

        @site.route
        def view() -> str:
            g.user = 1
            after_this_response(site.app, note)
            after_this_response(site.app, note)
            return ""

        Server(site.app).serve()
        site.finish()
        assert facts == [({}, False)] * 2

    def test_keywords(self, site: Site) -> None:
        """Every argument is the function's own."""
        got: list[dict[str, object]] = []

        def note(**kwargs: object) -> None:
            got.append(kwargs)

        @site.route
        def view() -> str:
            after_this_response(site.app, note, app=1, function=2)
            return ""

        Server(site.app).serve()
        site.finish()
        assert got == [{"app": 1, "function": 2}]

    def test_a_result_is_refused(self, site: Site) -> None:
        """To call the function in place of passing it is the likely mistake."""

        @site.route
        def view() -> str:
            with pytest.raises(InvalidTaskError, match="Pass the function and its arguments"):
                after_this_response(site.app, None)  # type: ignore[arg-type]
            return ""

        Server(site.app).serve()


def exit_now() -> None:
    raise SystemExit("no")


class TestOutsideRequests:
    """There has to be a response to come."""

    def test_no_request(self, site: Site) -> None:
        """With an app context or without one."""
        with pytest.raises(OutsideRequestError, match="outside of request context"):
            site.leave(1)
        with site.app.app_context(), pytest.raises(OutsideRequestError):
            site.leave(1)
        with pytest.raises(OutsideRequestError):
            after_this_response(None, fail)

    def test_a_context_without_a_server(self, site: Site) -> None:
        """A test's request context never gets a response."""
        with (
            site.app.test_request_context(),
            pytest.raises(OutsideRequestError, match="test_client"),
        ):
            site.leave(1)

    @pytest.mark.parametrize("other", [False, True])
    def test_too_late(self, site: Site, other: bool) -> None:
        """A response that has ended takes nothing, and the error says so."""
        notes: list[str] = []

        def leave() -> None:
            try:
                site.leave(1)
            except OutsideRequestError as error:
                notes.extend(error.__notes__)

        @site.route
        def view() -> str:
            if other:
                site.leave(0)
            views.append(request._get_current_object())  # type: ignore[attr-defined]
            return ""

        views: list[Any] = []
        Server(site.app).serve()
        with site.app.request_context(views[0].environ):
            leave()
        assert "already been handed over" in "".join(notes)

    def test_while_the_response_ends(self, site: Site) -> None:
        """A thread that has the request in hand cannot lose its callback in silence."""
        began, ended, told = (threading.Event() for _ in range(3))

        @site.route
        def view() -> str:
            environ = request.environ

            def late() -> None:
                with site.app.request_context(environ):
                    began.set()
                    assert ended.wait(PATIENCE)
                    try:
                        site.leave("late")
                    except OutsideRequestError:
                        told.set()

            threading.Thread(target=late, daemon=True).start()
            assert began.wait(PATIENCE)
            return ""

        Server(site.app).serve()
        ended.set()
        assert told.wait(PATIENCE)


class TestStanding:
    """Callbacks after every response."""

    def test_of_the_app(self, site: Site) -> None:
        """Also after a 404, after what the view left, and in the order they were added."""

        @site.route
        def view() -> str:
            site.leave("left")
            return ""

        site.standing.add(functools.partial(site.ran.append, "one"))
        site.standing.add(functools.partial(site.ran.append, "two"))
        Server(site.app).serve()
        Server(site.app, "/nowhere").serve()
        assert site.finish() == ["left", "one", "two", "one", "two"]

    def test_of_a_blueprint(self, make_site: MakeSite) -> None:
        """Of its own views, and of those of blueprints within it."""
        site = make_site(manual=True)
        outer, inner, other = (Blueprint(name, __name__) for name in ("outer", "inner", "other"))
        for number, blueprint in enumerate((outer, inner, other)):
            blueprint.add_url_rule("/", "index", lambda: "")
            standing = functools.partial(site.ran.append, blueprint.name)
            site.standing.add(standing, blueprint)
            site.standing.add(functools.partial(site.ran.append, number), f"outer.{blueprint.name}")
        outer.register_blueprint(inner, url_prefix="/inner")
        site.app.register_blueprint(outer, url_prefix="/outer")
        site.app.register_blueprint(other, url_prefix="/other")
        # The same blueprint once more, elsewhere and under another name.
        site.app.register_blueprint(inner, url_prefix="/again", name="again")
        ran: dict[str, list[object]] = {}
        for path in ("/outer/", "/outer/inner/", "/other/", "/again/", "/nowhere"):
            Server(site.app, path).serve()
            site.callbacks.run_pending()
            ran[path] = list(site.ran)
            site.ran.clear()
        assert ran == {
            "/outer/": ["outer"],
            "/outer/inner/": ["outer", "inner", 1],
            "/other/": ["other"],
            "/again/": ["inner"],
            "/nowhere": [],
        }

    def test_failures(self, site: Site) -> None:
        """They follow the same rules, and the route is known even if the app raised."""
        site.app.config["PROPAGATE_EXCEPTIONS"] = True
        exchanges: list[Exchange] = []

        @site.route
        def view() -> str:
            raise GoneError

        site.standing.add(lambda: site.ran.append("skipped"))
        site.standing.add(exchanges.append, always=True)
        with pytest.raises(GoneError):
            Server(site.app)
        assert site.finish() == []
        assert [(e.endpoint, e.url_rule, e.status_code) for e in exchanges] == [
            ("index", "/", None)
        ]
        assert not exchanges[0].completed

    def test_no_place(self, make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
        """They are dropped, counted, logged and signalled; the view and its own one go on."""
        site, drops = make_site(limit=1), list[dict[str, Any]]()

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        def note(sender: Flask, **facts: Any) -> None:
            drops.append(facts)

        site.standing.add(fail)
        site.standing.add(exit_now)
        with callbacks_dropped.connected_to(note, site.app):
            assert Server(site.app).serve() == b"hello"
        assert site.finish() == ["left"]
        names = (f"{__name__}.fail", f"{__name__}.exit_now")
        assert drops == [{"callbacks": names, "count": 2, "reason": "full"}]
        assert "callbacks dropped for want of a place: 2," in caplog.text

    @pytest.mark.parametrize(
        "function",
        [lambda one, two: None, lambda *, key: None, type, None],
        ids=["two", "keyword", "unknown", "none"],
    )
    def test_signatures(self, function: Any) -> None:
        """A function has to take nothing or one argument, and is refused when it is added."""
        with pytest.raises(InvalidTaskError):
            StandingCallbacks().add(function)

    def test_one_that_can_take_the_exchange_gets_it(self, site: Site) -> None:
        """A default or a star does not keep it away."""

        @site.route
        def view() -> str:
            return ""

        def optional(exchange: object = None, more: int = 1) -> None:
            site.ran.append(type(exchange))

        def star(*args: object) -> None:
            site.ran.append(len(args))

        site.standing.add(optional)
        site.standing.add(star)
        Server(site.app).serve()
        assert site.finish() == [Exchange, 1]


class TestExchange:
    """What a standing callback is told."""

    @pytest.fixture
    def exchange(self, site: Site) -> Exchange:
        pages = Blueprint("pages", __name__)

        @pages.route("/pages/<name>", methods=["PUT"])
        def page(name: str) -> Response:
            response = Response("hello", 201)
            response.set_cookie("session", "secret")
            response.headers["X-Shown"] = "yes"
            return response

        site.app.register_blueprint(pages)
        site.standing.add(site.ran.append)
        headers = {
            "Authorization": "Bearer secret",
            "Cookie": "session=secret",
            "Proxy-Authorization": "Basic secret",
            "X-Asked": "yes",
            "X-Request-ID": "r1",
        }
        url = "http://shop.test/mounted/"
        server = Server(
            site.app,
            "/pages/für",
            base_url=url,
            method="PUT",
            query_string="a=1",
            headers=headers,
            environ={"REMOTE_ADDR": "192.0.2.7"},
        )
        server.serve()
        (exchange,) = site.finish()
        assert isinstance(exchange, Exchange)
        return exchange

    def test_facts(self, exchange: Exchange) -> None:
        """All of the request and of the response that is known by its end."""
        facts = dataclasses.asdict(exchange)
        started_at, duration = facts.pop("started_at"), facts.pop("duration")
        assert {name: value for name, value in facts.items() if "headers" not in name} == {
            "method": "PUT",
            "root_path": "/mounted",
            "path": "/pages/für",
            "query_string": "a=1",
            "endpoint": "pages.page",
            "url_rule": "/pages/<name>",
            "blueprint": "pages",
            "remote_addr": "192.0.2.7",
            "request_id": "r1",
            "status_code": 201,
            "content_length": 5,
            "completed": True,
        }
        assert 0 <= duration < PATIENCE
        assert timedelta() <= datetime.now(UTC) - started_at < timedelta(seconds=2 * PATIENCE)

    def test_no_secrets(self, exchange: Exchange) -> None:
        """Neither cookies nor credentials, of either side."""
        assert ("X-Asked", "yes") in exchange.request_headers
        assert ("X-Shown", "yes") in exchange.response_headers
        assert "secret" not in repr(exchange)

    def test_frozen(self, exchange: Exchange) -> None:
        """Several callbacks share it."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            exchange.status_code = 500  # type: ignore[misc]
        assert isinstance(exchange.request_headers, tuple)
        hash(exchange)

    def test_incomplete(self, site: Site) -> None:
        """One that always runs sees whether the server took all."""

        @site.route
        def view() -> Response:
            return Response(iter(["one", "two"]))

        site.standing.add(site.ran.append, always=True)
        Server(site.app).close()
        (exchange,) = site.finish()
        assert isinstance(exchange, Exchange)
        assert (exchange.completed, exchange.content_length) == (False, None)

    def test_a_long_request_id_is_none(self, site: Site) -> None:
        """A header that is too long is not an id."""
        site.standing.add(site.ran.append)
        Server(site.app, headers={"X-Request-ID": "x" * 201}).serve()
        (exchange,) = site.finish()
        assert isinstance(exchange, Exchange)
        assert exchange.request_id is None


class TestServers:
    """What the server sees of us."""

    def test_files_are_untouched(self, site: Site) -> None:
        """A server finds its own wrapper, so that it can use sendfile."""

        @site.route
        def view() -> Response:
            return send_file(io.BytesIO(b"hello"), "text/plain")

        server = Server(site.app, environ={"wsgi.file_wrapper": FileWrapper})
        assert type(server.body) is FileWrapper
        server.close()

    def test_plain_responses_are_untouched(self, site: Site) -> None:
        """Nothing is wrapped where nothing is to run."""

        @site.route
        def view() -> str:
            return "hello"

        bare = Flask("bare")
        bare.add_url_rule("/", "index", view)
        assert type(Server(site.app).body) is type(Server(bare).body)
        assert site.asked == 1

    def test_werkzeug_processes(self, site: Site) -> None:
        """Werkzeug's child ends with the response, so callbacks run in close(), after the inner."""

        @site.route
        def view() -> Response:
            response = Response("hello")
            response.call_on_close(lambda: site.ran.append("closed"))
            after_this_response(site.app, lambda: site.ran.append(threading.get_ident()))
            return response

        environ = {
            "SERVER_SOFTWARE": "Werkzeug/3.1",
            "wsgi.multiprocess": True,
            "wsgi.multithread": False,
        }
        server = Server(site.app, environ=environ)
        server.read()
        assert site.ran == []
        server.close()
        assert site.ran == ["closed", threading.get_ident()]

    def test_two_apps(self, make_site: MakeSite) -> None:
        """Apps that are mounted in each other share an environ, but no callbacks."""
        outer, inner = make_site("outer"), make_site("inner")

        @outer.route
        @inner.route
        def view() -> str:
            return ""

        @outer.app.after_request
        def leave_outer(response: Response) -> Response:
            outer.leave("outer")
            return response

        @inner.app.after_request
        def leave_inner(response: Response) -> Response:
            inner.leave("inner")
            with pytest.raises(OutsideRequestError):
                other.leave("other")
            return response

        other = make_site("other")
        mounted = DispatcherMiddleware(outer.app.wsgi_app, {"/inner": inner.app})
        outer.app.wsgi_app = AfterResponseOf(mounted, outer)  # type: ignore[method-assign]
        outer.standing.add(lambda: outer.ran.append("standing"))
        for path in ("/", "/inner/", "/inner/"):
            Server(outer.app, path).serve()
        assert outer.finish() == ["outer", "standing", "standing", "standing"]
        assert inner.finish() == ["inner", "inner"]

    def test_an_app_that_calls_itself(self, site: Site) -> None:
        """The outer response is the one that a client gets, so all waits for its end."""
        bodies: list[Iterable[bytes]] = []

        @site.app.get("/inner")
        def inner() -> str:
            site.leave("inner")
            return "inner"

        @site.route
        def view() -> str:
            environ = request.environ | {"PATH_INFO": "/inner"}
            bodies.append(site.app(environ, lambda *_: lambda data: None))
            site.leave("outer")
            return "outer"

        assert Server(site.app).serve() == b"outer"
        assert site.finish() == ["inner", "outer"]


class TestManual:
    """With Flask's test client, which does not close."""

    @pytest.fixture
    def site(self, make_site: MakeSite) -> Site:
        return make_site(manual=True)

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_waits_for_run_pending(self, site: Site, method: str) -> None:
        """A request is enough, without reading or closing its response."""

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        response = site.app.test_client().open("/", method=method)
        assert site.ran == []
        assert site.callbacks.run_pending() == 1
        assert site.ran == ["left"]
        response.close()
        del response
        assert site.callbacks.run_pending() == 0

    def test_streams(self, site: Site) -> None:
        """A stream counts once it was read."""

        @site.route
        def view() -> Response:
            def generate() -> Generator[str]:
                yield "one"
                yield "two"
                site.leave("left")

            return Response(stream_with_context(generate()))

        response = site.app.test_client().get("/")
        assert site.callbacks.run_pending() == 0
        assert response.text == "onetwo"
        assert site.callbacks.run_pending() == 1

    def test_werkzeug_processes(self, site: Site) -> None:
        """Manual stays manual."""

        @site.route
        def view() -> str:
            site.leave("left")
            return "hello"

        environ = {"SERVER_SOFTWARE": "Werkzeug", "wsgi.multiprocess": True}
        Server(site.app, environ=environ | {"wsgi.multithread": False}).serve()
        assert site.ran == []
        assert site.callbacks.run_pending() == 1
