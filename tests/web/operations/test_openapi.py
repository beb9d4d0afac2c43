"""What ``later.openapi`` says is what the routes do, no more and no less."""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
from flask import Response
from flask.views import MethodView

from flask_later import current_job
from flask_later.errors import OutsideAppContextError
from flask_later.tasks.state import get_state
from flask_later.testing import advance

from .conftest import MakeSite
from .documented import Answers, Seen, documented, operations, resolved
from .site import Site

ROUTE = "/reports"
OPERATION = "/operations/{id}"
RESULT = f"{OPERATION}/result"
CANCEL = f"{OPERATION}/cancel"
EVENTS = f"{OPERATION}/events"

ADA = {"X-User": "ada"}
HTML = {**ADA, "Accept": "text/html"}
#: The media types of a refusal.
REFUSED = {"application/problem+json", "text/html"}
WAIT = {**ADA, "Prefer": "respond-async, wait=1"}


def complete(site: Site, document: dict[str, Any]) -> dict[str, Any]:
    with site.app.app_context():
        return site.later.openapi.add_to(document)


# What is said is what is done


def test_every_answer_is_in_the_document(make_site: MakeSite) -> None:
    """Status, headers and media types; and what no route ever answers is not."""
    settings = {"OPERATION_LOCATION": True, "ANONYMOUS_OPERATIONS": False, "MAX_REQUEST": 9_999}
    settings["EVENTS"] = True
    answers: Answers = defaultdict(lambda: (set(), set()))
    for use, more in USES.items():
        site = make_site(**settings, **more)
        site.view(ROUTE)(lambda: {"rows": 1})
        use(site, Seen(site.client, answers))
    said = documented(complete(site, {"openapi": "3.1.0", "paths": {ROUTE: {"post": {}}}}))
    # What the view has made is told by the route that it belongs to.
    for method in ("get", "head"):
        assert said.pop((RESULT, method, "default")) == (set(), set())
        del answers[RESULT, method, "200"]
    assert answers[ROUTE, "post", "200"][1] == {"application/json"}
    answers[ROUTE, "post", "200"][1].clear()
    assert dict(answers) == said


def begin(seen: Seen, url: str = "", **headers: str) -> str:
    """Start an operation, and return where it is."""
    answer = seen("POST", ROUTE, url=url, headers={**ADA, **headers})
    assert answer.status_code == 202
    return answer.headers["Location"]


def look(seen: Seen, where: str, *statuses: int, **headers: str) -> None:
    """Ask for the status and the result, which are to be answered so."""
    for method in ("GET", "HEAD"):
        urls = ((OPERATION, where), (RESULT, f"{where}/result"))
        for (path, url), status in zip(urls, statuses, strict=False):
            answer = seen(method, path, url=url, headers={**ADA, **headers})
            assert answer.status_code == status, (method, path)


def start(site: Site, seen: Seen) -> None:
    assert seen("POST", ROUTE).status_code == 401
    assert seen("POST", ROUTE, headers=HTML).status_code == 303
    assert seen("POST", ROUTE, headers=ADA, data=b"x" * 10_000).status_code == 413
    where = begin(seen, Prefer="respond-async")
    look(seen, where, 200, 409)
    look(seen, where, 200, Accept="text/html")
    look(seen, where, 304, **{"If-None-Match": site.client.get(where, headers=ADA).headers["ETag"]})
    assert seen("DELETE", OPERATION, url=where, headers=ADA).status_code == 409
    listen(seen, where, 200)
    assert seen("GET", EVENTS, url=f"{where}/events", headers=ADA).status_code == 503


def listen(seen: Seen, where: str, status: int, last: str = "") -> str:
    """Ask for the events, and return the id of the last."""
    headers = {**ADA, "Last-Event-ID": last}
    for method in ("HEAD", "GET"):
        answer = seen(method, EVENTS, url=f"{where}/events", headers=headers)
        assert answer.status_code == status, method
    return answer.text.rpartition("id: ")[2].partition("\n")[0]


def refuse(site: Site, seen: Seen) -> None:
    """What is wrong with a request, and what another site's page sends."""

    @site.view("/json", accepts=["application/json"])
    def picky() -> dict[str, int]:
        return {"rows": 1}

    answer = seen("POST", ROUTE, headers=ADA, data="{", content_type="application/json")
    assert answer.status_code == 400
    answer = seen("POST", ROUTE, url="/json", headers=ADA, data="a", content_type="text/plain")
    assert answer.status_code == 415
    foreign = {**ADA, "Sec-Fetch-Site": "cross-site"}
    where = begin(seen)
    assert seen("DELETE", OPERATION, url=where, headers=foreign).status_code == 403
    assert seen("POST", CANCEL, url=f"{where}/cancel", headers=foreign).status_code == 403


def repeat(site: Site, seen: Seen) -> None:
    """The same request again, and another one with its key."""
    for _ in range(2):
        begin(seen, **{"Idempotency-Key": "a"})
    answer = seen("POST", ROUTE, url="/reports?x=1", headers={**ADA, "Idempotency-Key": "a"})
    assert answer.status_code == 422
    answer = seen("POST", ROUTE, headers={**HTML, "Idempotency-Key": "a"})
    assert answer.status_code == 303


def cancel(site: Site, seen: Seen) -> None:
    @site.view("/running")
    def running() -> str:
        url = f"/operations/{current_job.id}/cancel"
        return str(other("POST", CANCEL, url=url, headers=ADA).status_code)

    other = seen.by(site.app.test_client())
    where = begin(seen, "/running")
    site.run()
    assert site.client.get(f"{where}/result", headers=ADA).text == "202"
    where = begin(seen)
    for headers, status in ((ADA, 200), (ADA, 409)):
        answer = seen("POST", CANCEL, url=f"{where}/cancel", headers=headers)
        assert answer.status_code == status
    look(seen, where, 200, 409)
    answer = seen("POST", CANCEL, url=f"{begin(seen)}/cancel", headers=HTML)
    assert answer.status_code == 303


def miss(site: Site, seen: Seen) -> None:
    where = f"/operations/{'0' * 32}"
    look(seen, where, 404, 404)
    assert seen("DELETE", OPERATION, url=where, headers=ADA).status_code == 404
    assert seen("POST", CANCEL, url=f"{where}/cancel", headers=ADA).status_code == 404
    listen(seen, where, 404)


def finish(site: Site, seen: Seen) -> None:
    where = begin(seen)
    site.run()
    look(seen, where, 200, 200)
    look(seen, where, 303, Accept="text/html")
    listen(seen, where, 204, listen(seen, where, 200))
    assert seen("DELETE", OPERATION, url=where, headers=ADA).status_code == 204


def fail(site: Site, seen: Seen) -> None:
    @site.view("/bad")
    def bad() -> None:
        raise ValueError

    where = begin(seen, "/bad")
    site.run()
    look(seen, where, 200, 500)


def expire(site: Site, seen: Seen) -> None:
    where = begin(seen)
    site.run()
    advance(site.app, 6.5 * 86_400)
    look(seen, where, 410, 410)
    listen(seen, where, 410)


def follow_a_job(site: Site, seen: Seen) -> None:
    @site.later.task
    def build() -> None: ...

    @site.app.post("/own")
    def own() -> Response:
        job = build.using(unique_key="own").enqueue()
        return site.later.accepted(job, result_url="/elsewhere")

    where = begin(seen, "/own")
    assert seen("POST", ROUTE, url="/own", headers=ADA).status_code == 409
    site.run()
    look(seen, where, 200, 303)


def overwhelm(site: Site, seen: Seen) -> None:
    begin(seen)
    assert seen("POST", ROUTE, headers=ADA).status_code == 503


def hoard(site: Site, seen: Seen) -> None:
    begin(seen)
    assert seen("POST", ROUTE, headers=ADA).status_code == 429


def wait(site: Site, seen: Seen) -> None:
    """Jobs run by themselves here, and clients wait for them."""

    @site.view("/bad")
    def bad() -> None:
        raise ValueError

    @site.view("/long")
    def long() -> str:
        return str(ended.wait(30))

    ended = threading.Event()
    for _ in range(2):
        headers = {**WAIT, "Idempotency-Key": "good"}
        assert seen("POST", ROUTE, headers=headers).status_code == 200
        headers = {**WAIT, "Idempotency-Key": "bad"}
        assert seen("POST", ROUTE, url="/bad", headers=headers).status_code == 500
    where = begin(seen, "/long", **WAIT)
    known = site.client.get(where, headers=ADA).headers["ETag"]
    look(seen, where, 200, Prefer="wait=1")
    assert seen("GET", OPERATION, url=where, headers={**WAIT, "If-None-Match": known})
    ended.set()
    site.later.stop(site.app)


#: What clients do, and the settings for it.
USES: dict[Callable[[Site, Seen], None], dict[str, Any]] = {
    start: {},
    refuse: {},
    repeat: {},
    cancel: {},
    miss: {},
    finish: {},
    fail: {},
    expire: {},
    follow_a_job: {},
    overwhelm: {"MAX_PENDING": 1},
    hoard: {"MAX_PENDING_PER_PRINCIPAL": 1},
    wait: {"MANUAL": False, "MAX_WAITERS": 1},
}


# The document as a whole


@pytest.mark.parametrize("given", [{}, {"openapi": "3.0.3"}, {"paths": {ROUTE: {"post": {}}}}])
def test_a_document_that_is_complete_stays_as_it_is(site: Site, given: dict[str, Any]) -> None:
    """It may be completed each time that it is asked for."""
    site.view(ROUTE)(lambda: "ok")
    once = copy.deepcopy(complete(site, given))
    assert complete(site, copy.deepcopy(once)) == once


def test_what_is_there_stays(site: Site) -> None:
    """Ours is added beside it."""
    site.view(ROUTE)(lambda: "ok")
    own = {
        "operationId": "report",
        "parameters": [{"name": "Prefer", "in": "header", "schema": {"type": "string"}}],
        "responses": {
            "201": {"description": "Made.", "headers": {"X-Own": {"schema": {}}}},
            "409": {"description": "Busy.", "content": {"application/json": {}}},
        },
    }
    document = complete(site, {"paths": {ROUTE: {"post": copy.deepcopy(own)}}, "tags": []})
    operation = document["paths"][ROUTE]["post"]
    assert (operation["operationId"], document["tags"]) == ("report", [])
    assert operation["parameters"][:1] == own["parameters"]
    assert "Prefer" not in str(operation["parameters"][1:])
    assert {*operation["responses"]} >= {"201", "202", "303", "409"}
    assert "200" not in operation["responses"]
    assert {*operation["responses"]["201"]["headers"]} == {
        *("X-Own", "Preference-Applied", "Content-Location", "Idempotent-Replayed"),
        *("Cache-Control", "Vary", "X-Content-Type-Options"),
    }
    conflict = operation["responses"]["409"]
    assert conflict["description"] == "Busy."
    assert {*conflict["content"]} == {"application/json", *REFUSED}


def test_a_shared_response_is_not_changed_for_others(site: Site) -> None:
    """A route that refers to one of the app's gets a response of its own."""
    site.view(ROUTE)(lambda: "ok")
    shared = {"description": "Busy."}
    document = complete(
        site,
        {
            "paths": {
                ROUTE: {"post": {"responses": {"409": {"$ref": "#/components/responses/B"}}}}
            },
            "components": {"responses": {"B": shared}},
        },
    )
    assert document["components"]["responses"]["B"] == {"description": "Busy."}
    conflict = document["paths"][ROUTE]["post"]["responses"]["409"]
    assert {*conflict["content"]} == REFUSED


def test_a_name_that_is_taken_is_left_alone(site: Site) -> None:
    """Ours has another one then, and all that refers to it."""
    own = {"type": "object", "description": "A problem of ours."}
    document = complete(site, {"components": {"schemas": {"Problem": own}}})
    assert document["components"]["schemas"].keys() == {"Problem", "LaterProblem", "Operation"}
    assert document["components"]["schemas"]["Problem"] == own
    unknown = document["components"]["responses"]["OperationUnknown"]
    assert unknown["content"]["application/problem+json"]["schema"] == {
        "$ref": "#/components/schemas/LaterProblem"
    }


def test_every_reference_leads_somewhere(site: Site) -> None:
    """And every link to an operation of the document."""
    site.view(ROUTE)(lambda: "ok")
    document = complete(site, {"paths": {ROUTE: {"post": {}}}})
    named = {operation.get("operationId") for _, _, operation in operations(document)}
    for part in parts(document):
        assert isinstance(resolved(document, part), dict)
    links = document["components"]["responses"]["OperationAccepted"]["links"]
    assert {link["operationId"] for link in links.values()} <= named


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Return each dict in *value*."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from parts(each)


def test_null_is_said_as_each_version_says_it(site: Site) -> None:
    """A type since 3.1, a property of the others before."""
    with site.app.app_context():
        old, new = (site.later.openapi.components(version) for version in ("3.0.3", "3.1.0"))
    old, new = (each["schemas"]["Operation"]["properties"]["started_at"] for each in (old, new))
    assert (old["type"], old["nullable"]) == ("string", True)
    assert (new["type"], "nullable" in new) == (["string", "null"], False)


@pytest.mark.parametrize(("version", "said"), [("3.1.0", False), ("3.2.0", True)])
def test_events_are_described_where_there_are_words_for_it(
    make_site: MakeSite, version: str, said: bool
) -> None:
    """What each event of a stream is, can be said since 3.2."""
    site = make_site(EVENTS=True)
    document = complete(site, {"openapi": version})
    stream = document["components"]["responses"]["OperationEvents"]["content"]["text/event-stream"]
    assert ("itemSchema" in stream) is said


# Which routes


def test_only_async_routes_are_completed(site: Site) -> None:
    """Whatever wraps them, and whatever their path is made of."""

    @site.app.get("/plain")
    def plain() -> str:
        return "ok"

    def wrapped(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def wrapper(**kwargs: Any) -> Any:
            return view(**kwargs)

        return wrapper

    paths = {"/plain": {"get": {}}, "/reports/{year}": {"post": {}}, "/a/{x}/{y}": {"post": {}}}
    site.view("/a/<any(b, c):x>/<path:y>")(lambda x, y: {})
    site.app.view_functions["report"] = wrapped(site.app.view_functions["report"])
    document = complete(site, {"paths": paths})
    assert document["paths"]["/plain"]["get"] == {}
    assert "202" in document["paths"]["/reports/{year}"]["post"]["responses"]
    assert "202" in document["paths"]["/a/{x}/{y}"]["post"]["responses"]


def test_a_view_of_a_class_is_completed(site: Site) -> None:
    """In each of its methods."""

    class Report(MethodView):
        decorators = (site.later.respond_async,)

        def get(self) -> str:
            return "ok"

        def put(self) -> str:
            return "ok"

    site.app.add_url_rule("/report", view_func=Report.as_view("class_report"))
    document = complete(site, {"paths": {"/report": {"get": {}, "put": {}, "summary": "A report"}}})
    for method in ("get", "put"):
        assert "202" in document["paths"]["/report"][method]["responses"]


def test_an_async_method_is_completed_alone(site: Site) -> None:
    """The others of its class are left as they are."""

    class Report(MethodView):
        def get(self) -> str:
            return "ok"

        @site.later.respond_async
        def put(self) -> str:
            return "ok"

    site.app.add_url_rule("/report", view_func=Report.as_view("class_report"))
    document = complete(site, {"paths": {"/report": {"get": {}, "put": {}}}})
    assert document["paths"]["/report"]["get"] == {}
    assert "202" in document["paths"]["/report"]["put"]["responses"]


@pytest.mark.parametrize(
    ("setting", "paths"),
    [("/api/jobs", {f"/api/jobs/{{id}}{p}" for p in ("", "/result", "/cancel")}), (None, set())],
)
def test_the_paths_are_those_of_the_app(
    make_site: MakeSite, setting: str | None, paths: set[str]
) -> None:
    """Where its setting puts them."""
    assert {*complete(make_site(OPERATIONS=setting), {})["paths"]} == paths


def test_the_pieces_can_be_had_one_by_one(site: Site) -> None:
    """They are the caller's own, and fit to each other."""
    with site.app.app_context():
        openapi = site.later.openapi
        pieces = {"components": openapi.components(), "paths": openapi.paths()}
        assert complete(site, copy.deepcopy(pieces)) == pieces
        openapi.route()["parameters"].clear()
        assert openapi.route()["parameters"]


def test_without_an_app_nobody_knows(site: Site) -> None:
    """The error says what to write."""
    with pytest.raises(OutsideAppContextError, match=r"later\.openapi\.paths\(\)"):
        site.later.openapi.paths()


def test_a_document_opens_no_store(site: Site) -> None:
    """It may be made while the app is put together, and a setting may still change then."""
    complete(site, {})
    site.app.config["LATER_MAX_WAIT"] = 1.0
    with site.app.app_context():
        assert get_state("", "").settings.max_wait == 1.0
