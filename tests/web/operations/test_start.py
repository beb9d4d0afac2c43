"""A request to an async route is answered 202, and its view runs in a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Response, request
from werkzeug.test import TestResponse

from flask_later import Job, Later
from flask_later.errors import JobNotFoundError, UnsupportedError

from .conftest import MakeSite
from .site import USER, Site


def test_the_answer_is_the_operation_and_where_it_is(site: Site) -> None:
    """With all that a client needs in order to ask again."""
    answer = site.post()
    document = answer.get_json()
    where = f"/operations/{document['id']}"
    assert answer.status_code == 202
    assert answer.content_type == "application/json"
    assert answer.headers["Location"] == answer.headers["Content-Location"] == where
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Vary"] == "Prefer, Accept"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["ETag"]
    assert "Preference-Applied" not in answer.headers
    assert document["links"] == {
        "self": where,
        "cancel": f"{where}/cancel",
        "events": None,
        "result": None,
    }


def test_a_new_operation_is_queued(site: Site) -> None:
    """Its document has all members from the beginning."""
    document = site.post().get_json()
    created_at = document.pop("created_at")
    del document["id"], document["links"]
    assert created_at.endswith("Z")
    assert document.pop("task").endswith("Site.__init__.report")
    assert document == {
        "status": "queued",
        "done": False,
        "started_at": None,
        "finished_at": None,
        "attempt": 0,
        "max_attempts": 1,
        "next_attempt_at": None,
        "progress": None,
        "result": None,
        "error": None,
        "expires_at": None,
    }


def test_the_view_runs_in_the_job_alone(site: Site) -> None:
    """Once, and not before."""
    site.post()
    assert site.reports == 0
    assert site.run() == 1
    assert site.reports == 1


def test_a_preference_for_async_is_told_as_applied(site: Site) -> None:
    """It is what happens anyway."""
    answer = site.post(headers={"Prefer": "respond-async, handling=lenient"})
    assert answer.headers["Preference-Applied"] == "respond-async"


def test_an_absolute_location_of_the_operation_is_an_option(make_site: MakeSite) -> None:
    """As Azure's guidelines have it."""
    answer = make_site(OPERATION_LOCATION=True).post(base_url="https://shop.example")
    where = answer.headers["Location"]
    assert answer.headers["Operation-Location"] == f"https://shop.example{where}"


def test_the_location_is_right_behind_a_prefix(site: Site) -> None:
    """Where the app is mounted below a path, the path is part of it."""
    answer = site.client.post("/reports/2026", base_url="http://shop.example/caf%C3%A9/")
    where = answer.headers["Location"]
    assert where.startswith("/caf%C3%A9/operations/")
    assert answer.get_json()["links"]["self"] == where


def test_a_host_that_the_client_makes_up_is_not_part_of_the_location(site: Site) -> None:
    """It would lead others astray."""
    answer = site.post(headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert answer.headers["Location"].startswith("/operations/")


def test_the_routes_are_where_the_setting_says(make_site: MakeSite) -> None:
    """One key moves them all."""
    site = make_site(OPERATIONS="/api/jobs")
    where = site.start()
    assert where.startswith("/api/jobs/")
    assert site.document(where)["status"] == "queued"


def test_without_the_routes_nothing_is_started(make_site: MakeSite) -> None:
    """The error names the key."""
    site = make_site(OPERATIONS=None)
    with pytest.raises(UnsupportedError, match="LATER_OPERATIONS"):
        site.post()
    assert site.run() == 0


def test_head_begins_nothing(site: Site) -> None:
    """An async GET has a HEAD that has no effect."""

    @site.app.get("/slow")
    @site.later.respond_async
    def slow() -> str:
        return request.method

    answer = site.client.head("/slow")
    assert (answer.status_code, answer.data) == (202, b"")
    assert "Location" not in answer.headers
    assert site.run() == 0


# Jobs of the app's own


def test_a_job_of_the_apps_own_is_accepted(site: Site) -> None:
    """Its result is what the task returned."""

    @site.later.task
    def build(year: int) -> dict[str, int]:
        return {"rows": year}

    site.app.add_url_rule("/own", view_func=lambda: site.later.accepted(build.enqueue(3)))
    answer = site.client.get("/own")
    assert answer.status_code == 202
    where = answer.headers["Location"]
    site.run()
    assert site.document(where)["result"] == {"rows": 3}
    assert site.client.get(f"{where}/result").get_json() == {"rows": 3}


def test_only_what_was_accepted_can_be_followed(site: Site) -> None:
    """A job that a view has enqueued for other ends is nobody's business."""
    job_id = serve(site, "/own", lambda job: job.id).text
    assert site.client.get(f"/operations/{job_id}").status_code == 404


def test_the_result_can_be_elsewhere(site: Site) -> None:
    """The page that the app has for it."""
    answer = serve(site, "/own", lambda job: site.later.accepted(job, result_url="/files/1"))
    where = answer.headers["Location"]
    site.run()
    assert site.document(where)["links"]["result"] == "/files/1"
    answer = site.client.get(f"{where}/result")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/files/1")


def test_a_job_that_is_there_already_is_a_conflict(site: Site) -> None:
    """The answer says where the other one is."""

    @site.later.task
    def build() -> None: ...

    def view() -> object:
        return site.later.accepted(build.using(unique_key="report").enqueue())

    site.app.add_url_rule("/own", view_func=view)
    where = site.client.get("/own").headers["Location"]
    answer = site.client.get("/own")
    assert (answer.status_code, answer.get_json()["operation"]) == (409, where)


def test_somebody_elses_job_is_a_conflict_without_a_link(site: Site) -> None:
    """That there is one can be seen from the refusal; where, can not."""

    @site.later.task
    def build() -> None: ...

    def view() -> object:
        return site.later.accepted(build.using(unique_key="report").enqueue())

    site.app.add_url_rule("/own", view_func=view)
    site.client.get("/own", headers={"X-User": "ada"})
    answer = site.client.get("/own", headers={"X-User": "bob"})
    assert answer.status_code == 409
    assert "operation" not in answer.get_json()


def test_a_job_whose_client_is_refused_is_undone(make_site: MakeSite) -> None:
    """Nothing is kept."""
    site = make_site(ANONYMOUS_OPERATIONS=False)
    jobs: list[Job[None]] = []

    def accept(job: Job[None]) -> Response:
        jobs.append(job)
        return site.later.accepted(job)

    answer = serve(site, "/own", accept)
    assert answer.status_code == 401
    with site.app.app_context(), pytest.raises(JobNotFoundError):
        jobs[0].refresh()


def test_a_job_of_whom_too_much_waits_is_undone(make_site: MakeSite) -> None:
    """429, and nothing is kept."""
    site = make_site(MAX_PENDING_PER_PRINCIPAL=1)
    jobs: list[Job[None]] = []

    def accept(job: Job[None]) -> Response:
        jobs.append(job)
        return site.later.accepted(job)

    def ask() -> TestResponse:
        return site.client.get("/own", headers={USER: "ada"})

    where = serve(site, "/own", accept, {USER: "ada"}).headers["Location"]
    answer = ask()
    assert (answer.status_code, answer.content_type) == (429, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    with site.app.app_context(), pytest.raises(JobNotFoundError):
        jobs[-1].refresh()
    site.client.post(f"{where}/cancel", headers={USER: "ada"})
    assert [ask().status_code for _ in range(2)] == [202, 429]


def serve(
    site: Site,
    path: str,
    answer: Callable[[Job[None]], Any],
    headers: dict[str, str] | None = None,
) -> TestResponse:
    """Ask a view that enqueues a job and answers with what *answer* makes of it."""

    @site.later.task(name="own")
    def own() -> None: ...

    site.app.add_url_rule(path, view_func=lambda: answer(own.enqueue()))
    return site.client.get(path, headers=headers)


def test_the_decorator_takes_the_options_of_a_task() -> None:
    """They are the job's."""
    later = Later()

    @later.respond_async(name="build", queue="slow", priority=5)
    def view() -> None: ...

    [task] = later._registry.tasks()
    assert (task.name, task.options.queue, task.options.priority) == ("build", "slow", 5)
