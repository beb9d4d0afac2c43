"""The view in the job sees an equal request, and its answer is the result."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
from flask import (
    Blueprint,
    Response,
    abort,
    after_this_request,
    g,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)
from flask.views import MethodView

from flask_later import Retry, current_job
from flask_later.errors import InvalidTaskError

from .conftest import MakeSite
from .site import Site


def test_the_view_sees_what_was_asked(site: Site) -> None:
    """Method, URL, query, JSON and headers."""

    @site.view("/echo/<uuid:key>/<path:rest>")
    def echo(key: object, rest: str) -> dict[str, object]:
        return {
            "arguments": [str(key), rest],
            "method": request.method,
            "path": request.path,
            "root": request.script_root,
            "url": request.url,
            "query": request.args.to_dict(flat=False),
            "json": request.get_json(),
            "endpoint": request.endpoint,
            "view_args": {name: str(value) for name, value in (request.view_args or {}).items()},
            "language": request.accept_languages.best,
            "agent": request.user_agent.string,
            "address": request.remote_addr,
            "external": url_for("echo", key=key, rest="x", _external=True),
        }

    key = "6b1e5b4c-0d3c-4b0e-8f3a-2b7a2b1b7b1c"
    where = site.start(
        f"/echo/{key}/a/b%20c?x=1&x=2",
        base_url="https://shop.example/caf%C3%A9/",
        json={"a": [1, None, "ü"]},
        headers={"Accept-Language": "de", "User-Agent": "test"},
        environ_overrides={"REMOTE_ADDR": "192.0.2.7"},
    )
    site.run()
    assert site.document(where.removeprefix("/caf%C3%A9"))["result"] == {
        "arguments": [key, "a/b c"],
        "method": "POST",
        "path": f"/echo/{key}/a/b c",
        "root": "/café",
        "url": f"https://shop.example/café/echo/{key}/a/b%20c?x=1&x=2",
        "query": {"x": ["1", "2"]},
        "json": {"a": [1, None, "ü"]},
        "endpoint": "echo",
        "view_args": {"key": key, "rest": "a/b c"},
        "language": "de",
        "agent": "test",
        "address": "192.0.2.7",
        "external": f"https://shop.example/café/echo/{key}/x",
    }


def test_forms_and_files_cross_over(site: Site) -> None:
    """As the client sent them."""

    @site.view("/upload")
    def upload() -> dict[str, object]:
        file = request.files["file"]
        return {
            "form": request.form.to_dict(flat=False),
            "name": file.filename,
            "type": file.mimetype,
            "content": file.read().decode(),
        }

    data = {"tag": ["a", "b"], "file": (io.BytesIO(b"content"), "b\u00fccher.txt", "text/plain")}
    answer = site.result("/upload", data=data)
    assert answer.get_json() == {
        "form": {"tag": ["a", "b"]},
        "name": "bücher.txt",
        "type": "text/plain",
        "content": "content",
    }


def test_what_lets_somebody_in_never_crosses_over(site: Site) -> None:
    """Neither in the job nor in the store."""
    site.app.secret_key = "secret"

    @site.view("/who")
    def who() -> dict[str, object]:
        names = ("Cookie", "Authorization", "Proxy-Authorization", "X-Api-Key")
        return {
            "cookies": dict(request.cookies),
            "headers": [name for name in names if name in request.headers],
            "session": dict(session),
        }

    with site.client.session_transaction() as stored:
        stored["user"] = 1
    headers = dict.fromkeys(("Authorization", "Proxy-Authorization", "X-Api-Key"), "CANARY")
    site.client.set_cookie("token", "CANARY")
    where = site.start("/who", headers=headers)
    state = site.app.extensions["later"]
    [record] = state.store.find().records
    assert "CANARY" not in repr(record)
    site.run()
    answer = site.client.get(f"{where}/result")
    assert answer.get_json() == {"cookies": {}, "headers": [], "session": {}}


def test_an_async_view_runs_as_well(site: Site) -> None:
    """On the event loop of the worker's thread, without another library."""

    @site.view("/async")
    async def view() -> dict[str, object]:
        return {"path": request.path, "job": bool(current_job.id)}

    assert site.result("/async").get_json() == {"path": "/async", "job": True}


def passed_on(view: Any) -> Any:
    """Return a decorated view that hands the coroutine on."""

    @wraps(view)
    def wrapper() -> Any:
        g.decorated = True
        return view()

    return wrapper


def made_sync(view: Any) -> Any:
    """Return a decorated view that waits for the coroutine itself, as API libraries have it."""

    @wraps(view)
    def wrapper() -> Any:
        g.decorated = True
        return asyncio.run(view())

    return wrapper


@pytest.mark.parametrize("decorator", [passed_on, made_sync])
def test_an_async_view_may_be_decorated(site: Site, decorator: Any) -> None:
    """Whatever the decorator makes of the coroutine."""

    @site.view("/async")
    @decorator
    async def view() -> dict[str, object]:
        await asyncio.sleep(0)
        return {"path": request.path, "decorated": g.decorated}

    assert site.result("/async").get_json() == {"path": "/async", "decorated": True}


@pytest.mark.parametrize("decorator", [passed_on, made_sync])
def test_an_error_of_a_decorated_async_view_is_handled(site: Site, decorator: Any) -> None:
    """By the app, as that of any view."""

    @site.app.errorhandler(KeyError)
    def handle(error: KeyError) -> tuple[dict[str, str], int]:
        return {"key": error.args[0]}, 400

    @site.view("/async")
    @decorator
    async def view() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    answer = site.result("/async")
    assert (answer.status_code, answer.get_json()) == (400, {"key": "x"})


def test_a_view_of_a_blueprint_is_at_home_there(site: Site) -> None:
    """Its relative endpoints, its error handlers, and what follows on its views."""
    blueprint = Blueprint("api", __name__, url_prefix="/<lang>/api")

    @blueprint.url_value_preprocessor
    def take_language(endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.lang = (values or {}).pop("lang", None)

    @blueprint.url_defaults
    def give_language(endpoint: str, values: dict[str, Any]) -> None:
        values.setdefault("lang", g.lang)

    @blueprint.before_request
    def count() -> None:
        befores.append(request.path)

    @blueprint.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Api"] = "1"
        return response

    @blueprint.errorhandler(LookupError)
    def missing(error: LookupError) -> tuple[dict[str, str], int]:
        return {"missing": str(error)}, 404

    @blueprint.post("/things")
    @site.later.respond_async
    def things() -> str:
        raise LookupError(f"{request.blueprint} {url_for('.things')}")

    befores: list[str] = []
    site.app.register_blueprint(blueprint)
    answer = site.result("/de/api/things")
    assert answer.status_code == 404
    assert answer.get_json() == {"missing": "api /de/api/things"}
    assert answer.headers["X-Api"] == "1"
    assert befores == ["/de/api/things"]


def test_what_checks_who_asks_runs_in_the_request(site: Site) -> None:
    """A decorator above ours answers at once, and passes on what it found."""

    def require_key(view: Any) -> Any:
        def check(**kwargs: Any) -> Any:
            if request.headers.get("X-Api-Key") != "swordfish":
                abort(403)
            return view("ada", **kwargs)

        return check

    def view(user: str, year: int) -> dict[str, object]:
        return {"user": user, "year": year}

    site.app.add_url_rule(
        "/keyed/<int:year>",
        "keyed",
        require_key(site.later.respond_async(view)),
        methods=["POST"],
    )
    assert site.post("/keyed/7").status_code == 403
    assert site.run() == 0
    answer = site.result("/keyed/7", headers={"X-Api-Key": "swordfish"})
    assert answer.get_json() == {"user": "ada", "year": 7}


# What comes out


def late(response: Response) -> Response:
    response.headers["X-Kind"] = "late"
    return response


def pieces() -> Iterator[str]:
    yield "a,b\n"
    yield f"{request.path != ''},2\n"


def nothing_found() -> None:
    abort(404)


def abort_with_a_response() -> None:
    abort(Response("teapot", 418, {"X-Kind": "abort"}))


def handled() -> None:
    raise KeyError("x")


def followed() -> str:
    after_this_request(late)
    return "late"


def sent_file() -> Response:
    return send_file(io.BytesIO(b"%PDF"), "application/pdf", True, "report.pdf", etag="abc")


#: What a view can answer with.
KINDS: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"a": 1},
    "list": lambda: [1, 2],
    "text": lambda: "grüße",
    "tuple": lambda: ({"a": 1}, 201, {"X-Kind": "tuple", "Location": "/things/1"}),
    "nothing": lambda: ("", 204),
    "response": lambda: Response(b"\0\1", 202, {"X-Kind": "response"}, content_type="image/x-a"),
    "file": sent_file,
    "stream": lambda: Response(stream_with_context(pieces()), mimetype="text/csv"),
    "redirect": lambda: Response(status=302, headers={"Location": "/elsewhere"}),
    "abort": nothing_found,
    "abort with a response": abort_with_a_response,
    "handled": handled,
    "followed": followed,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_what_the_client_would_have_got(site: Site, kind: str) -> None:
    """The same status, headers and body as from the same view in the request."""

    @site.app.errorhandler(KeyError)
    def handle(error: KeyError) -> tuple[dict[str, str], int]:
        return {"key": error.args[0]}, 400

    @site.app.errorhandler(404)
    def missing(error: Exception) -> tuple[str, int]:
        return "nothing here", 404

    @site.view("/later")
    def later() -> Any:
        return KINDS[kind]()

    site.app.add_url_rule("/now", "now", KINDS[kind], methods=["POST"])
    expected = site.post("/now")
    answer = site.result("/later")
    assert (answer.status_code, answer.data) == (expected.status_code, expected.data)
    assert {*expected.headers} <= {*answer.headers}


def test_a_view_may_be_a_generator(site: Site) -> None:
    """As in Flask: what it yields is the body, of what it sees while it runs."""

    def numbers() -> Iterator[str]:
        for number in current_job.track([1, 2, 3]):
            yield f"{number * int(request.args['by'])}\n"

    site.app.add_url_rule("/now", "now", stream_with_context(numbers), methods=["POST"])
    site.view("/later")(numbers)
    expected = site.post("/now?by=7")
    answer = site.result("/later?by=7")
    assert (answer.text, answer.mimetype) == ("7\n14\n21\n", expected.mimetype)
    assert answer.text == expected.text


def test_a_generator_may_yield_too_much(make_site: MakeSite) -> None:
    """It is not read to its end, if it has one."""
    site = make_site(MAX_RESPONSE=100_000)

    @site.view("/endless")
    def endless() -> Iterator[str]:
        try:
            while True:
                yield "x" * 1_000
        finally:
            closed.append(True)

    closed: list[bool] = []
    where = site.start("/endless")
    site.run()
    assert "100,000 bytes" in site.document(where)["error"]["detail"]
    assert closed == [True]


def test_an_answer_of_an_error_is_a_failed_operation(site: Site) -> None:
    """The job itself has done what it was to do."""

    @site.view("/missing")
    def missing() -> str:
        abort(404)

    where = site.start("/missing")
    site.run()
    document = site.document(where)
    assert (document["status"], document["error"]["status"]) == ("failed", 404)
    assert document["error"]["instance"] == where
    assert document["links"]["result"] == f"{where}/result"


@pytest.mark.parametrize(
    ("refusal", "detail"),
    [
        (lambda: abort(422, "There is no such year."), "There is no such year."),
        (lambda: abort(422), "The view answered 422; see the result."),
        (lambda: abort(Response("no", 422)), "The view answered 422; see the result."),
        (lambda: abort(422, "x" * 5_000), "x" * 1_000),
    ],
    ids=["text", "no text", "response", "long"],
)
def test_what_a_view_says_as_it_refuses_is_for_the_client(
    site: Site, refusal: Callable[[], Any], detail: str
) -> None:
    """The text that its author gave, not the one that Werkzeug has for the status."""
    site.view("/refused")(refusal)
    where = site.start("/refused")
    site.run()
    assert site.document(where)["error"]["detail"] == detail


def test_a_view_is_tried_again_as_its_options_say(site: Site) -> None:
    """Before a handler of the app makes an answer of the error."""

    @site.app.errorhandler(OSError)
    def handle(error: OSError) -> tuple[dict[str, int], int]:
        return {"tries": len(tries)}, 503

    @site.view("/flaky", retry=Retry(max_attempts=3, backoff=0))
    def flaky() -> str:
        tries.append(current_job.attempt)
        raise OSError

    tries: list[int] = []
    answer = site.result("/flaky")
    assert tries == [1, 2, 3]
    assert (answer.status_code, answer.get_json()) == (503, {"tries": 3})


@pytest.mark.parametrize(("size", "status"), [(100_000, "succeeded"), (100_001, "failed")])
def test_an_answer_that_is_too_large_fails_and_says_so(
    make_site: MakeSite, size: int, status: str
) -> None:
    """There is a limit to what is kept."""
    site = make_site(MAX_RESPONSE=100_000)

    @site.view("/large")
    def large() -> Response:
        return Response(b"x" for _ in range(size))

    where = site.start("/large")
    site.run()
    document = site.document(where)
    assert document["status"] == status
    if status == "failed":
        assert "100,000 bytes" in document["error"]["detail"]


def test_a_large_answer_is_kept_in_a_file(site: Site) -> None:
    """It is streamed from there, and clients may ask for a part of it."""
    content = bytes(range(256)) * 1_000

    @site.view("/large")
    def large() -> Response:
        return send_file(io.BytesIO(content), "application/x-test", etag="abc")

    where = site.start("/large")
    site.run()
    answer = site.client.get(f"{where}/result", buffered=True)
    assert (answer.status_code, answer.data == content) == (200, True)
    assert answer.headers["Content-Length"] == "256000"
    part = site.client.get(f"{where}/result", headers={"Range": "bytes=10-19"}, buffered=True)
    assert (part.status_code, part.data) == (206, content[10:20])
    known = site.client.get(f"{where}/result", headers={"If-None-Match": '"abc"'}, buffered=True)
    assert known.status_code == 304
    assert site.document(where)["result"] is None


def test_a_result_whose_file_is_gone_is_gone(site: Site) -> None:
    """410, and no error of the server's."""

    @site.view("/large")
    def large() -> str:
        return "x" * 100_000

    where = site.start("/large")
    site.run()
    site.app.extensions["later"].store.files.delete([where.rpartition("/")[2]])
    assert site.client.get(f"{where}/result").status_code == 410


def test_two_views_of_classes_are_two_tasks(site: Site) -> None:
    """Flask gives all of them the same function."""
    from flask.views import View

    class One(View):
        decorators = (site.later.respond_async,)

        def dispatch_request(self) -> str:
            return type(self).__name__

    class Two(One):
        pass

    site.app.add_url_rule("/one", view_func=One.as_view("one"), methods=["POST"])
    site.app.add_url_rule("/two", view_func=Two.as_view("two"), methods=["POST"])
    assert (site.result("/one").text, site.result("/two").text) == ("One", "Two")


def test_a_method_of_a_view_is_one_as_well(site: Site) -> None:
    """With an object of its class in the job as well; its other methods are as before."""

    def check(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            checks.append(request.path)
            return method(*args, **kwargs)

        return checked

    class Small(MethodView):
        size = 2

        def get(self, year: int) -> str:
            return f"{year}"

        @check
        @site.later.respond_async
        @check
        def post(self, year: int) -> dict[str, object]:
            return {"class": type(self).__name__, "rows": year * self.size}

        @site.later.respond_async
        async def put(self, year: int) -> dict[str, int]:
            await asyncio.sleep(0)
            return {"put": year * self.size}

    class Large(Small):
        size = 5

    checks: list[str] = []
    for view in (Small, Large):
        name = view.__name__.lower()
        site.app.add_url_rule(f"/{name}/<int:year>", view_func=view.as_view(name))
    assert site.client.get("/small/3").text == "3"
    where = site.start("/large/3")
    assert checks == ["/large/3"]
    site.run()
    assert checks == ["/large/3"] * 2
    document = site.document(where)
    assert document["result"] == {"class": "Large", "rows": 15}
    assert document["task"].endswith(".Small.post")
    assert site.result("/small/3").get_json() == {"class": "Small", "rows": 6}
    where = site.client.put("/small/3").headers["Location"]
    site.run()
    assert site.document(where)["result"] == {"put": 6}


def test_a_method_whose_object_cannot_be_made_anew_is_refused(site: Site) -> None:
    """In the request, where its author sees it, and nothing is stored."""

    class Reports(MethodView):
        def __init__(self, size: int) -> None:
            self.size = size

        @site.later.respond_async
        def post(self) -> str:
            return "never"

    class NoView:
        @site.later.respond_async
        def post(self) -> str:
            return "never"

    site.app.add_url_rule("/with-size", view_func=Reports.as_view("reports", 2))
    site.app.add_url_rule("/no-view", view_func=NoView().post, methods=["POST"])
    for path in ("/with-size", "/no-view"):
        with pytest.raises(InvalidTaskError, match="MethodView whose __init__ takes nothing"):
            site.post(path)
    assert site.run() == 0
